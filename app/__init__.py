"""The web app: Streamlit pages over the HTTP API."""
