#!/bin/sh
# Generate the secrets of compose.yaml's services in ./secrets: sh cluster/secrets.sh raysift.example.com
# Existing files are kept, for example your own certificate or key.
set -eu
name=${1:-localhost}
mkdir -p secrets
chmod 700 secrets # the files are world-readable, as services run as different users; the folder keeps others out
cd secrets
random() { openssl rand -hex "$1"; }

[ -e ray_token ] || random 32 > ray_token

# an admin's key, which the head stores in its list of keys: see `raysift keys`
if ! [ -e operator_key ]; then
    printf 'rs_%s_%s' "$(random 6)" "$(openssl rand -base64 32 | tr '+/' '-_' | tr -d '=\n')" > operator_key
    echo "admin key $(cat operator_key) (printed only once)"
fi

if ! [ -e tls.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$name" \
        -addext "subjectAltName=DNS:$name,DNS:localhost" -keyout tls.key -out tls.crt 2> openssl.log ||
        { cat openssl.log >&2; exit 1; }
    rm openssl.log
fi

if ! [ -e s3_credentials ]; then
    key=$(random 10) secret=$(random 20)
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$key" "$secret" > s3_credentials
    printf '{"identities": [{"name": "raysift", "actions": ["Admin"], "credentials": [%s]}]}\n' \
        "{\"accessKey\": \"$key\", \"secretKey\": \"$secret\"}" > s3.json
fi
chmod 644 -- *
