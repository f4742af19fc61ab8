"""Parts of films: colours of high dynamic range, captions that are pictures, and what edit lists hide."""
