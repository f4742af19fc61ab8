# The environment of every command on a node that `ray up` has set up, and of whoever logs in there: ~/.bashrc reads it.
cd /srv/raysift # settings.yaml is read from here
# what `make install` makes, or the image has: a login shell has forgotten the image's own
export PATH="/srv/raysift/.venv/bin:/opt/raysift/bin:$PATH"
export PYTHONPATH=/srv/raysift
# Chroma is on the head, which has no $RAY_HEAD_IP: there it is the machine's own first address
export RAYSIFT_CHROMA__HOST="${RAY_HEAD_IP:-$(hostname -I | cut -d ' ' -f 1)}"
export RAY_AUTH_MODE=token
export RAY_ENABLE_UV_RUN_RUNTIME_ENV=0 # `uv run` would give every worker an environment of its own
export RAY_USAGE_STATS_ENABLED=0
export RAY_DATA_PARQUET_FOOTER_NUM_ACTORS=1 # ten processes otherwise, for the few footers of a ledger
export RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=deployments.api.http_proxy.middlewares # deadlines of headers, and a bound on bodies
