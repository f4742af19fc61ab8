# The environment of commands and login shells on a node of `ray up`; ~/.bashrc sources it.
cd /srv/raysift # processes read settings.yaml from the working folder
# the environment of `make install` or of the image; a login shell does not keep the image's PATH
export PATH="/srv/raysift/.venv/bin:/opt/raysift/bin:$PATH"
export PYTHONPATH=/srv/raysift
# Chroma runs on the head. RAY_HEAD_IP is not set there, so the head uses its own first address
export RAYSIFT_CHROMA__HOST="${RAY_HEAD_IP:-$(hostname -I | cut -d ' ' -f 1)}"
export RAY_AUTH_MODE=token
export RAY_ENABLE_UV_RUN_RUNTIME_ENV=0 # otherwise Ray makes an environment for every worker under `uv run`
export RAY_USAGE_STATS_ENABLED=0
export RAY_DATA_PARQUET_FOOTER_NUM_ACTORS=1 # the default, ten processes, is too many for the few files of a ledger
export RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=deployments.api.http_proxy.middlewares # deadlines of headers, and a bound on bodies
