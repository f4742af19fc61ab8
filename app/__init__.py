"""The web app: Streamlit pages that ask the HTTP API."""
