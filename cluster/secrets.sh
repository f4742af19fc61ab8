#!/bin/sh
# Generate the secrets of compose.yaml's services in ./secrets: sh cluster/secrets.sh raysift.example.com
# Existing files are kept, for example your own certificate or password file.
set -eu
name=${1:-localhost}
mkdir -p secrets
chmod 700 secrets # the files are world-readable, as services run as different users; the folder keeps others out
cd secrets
random() { openssl rand -hex "$1"; }

[ -e ray_token ] || random 32 > ray_token

if ! [ -e htpasswd ]; then
    password=$(random 12)
    # a fast hash, as nginx checks it on every request; the password is random and cannot be guessed
    echo "raysift:$(openssl passwd -apr1 "$password")" > htpasswd
    echo "user raysift, password $password (printed only once)"
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
