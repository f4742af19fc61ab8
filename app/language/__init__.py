"""The language of the app: which one a browser gets, texts in it, and numbers, sizes and dates as it writes them."""
