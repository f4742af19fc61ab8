#!/bin/sh
# Makes what compose.yaml's services share in confidence, under ./secrets: sh cluster/secrets.sh raysift.example.com
# What is there stays, so that a certificate or a password of your own may lie there before.
set -eu
name=${1:-localhost}
mkdir -p secrets
chmod 700 secrets # a service reads its files as whatever user it runs as: this folder keeps all others out
cd secrets
random() { openssl rand -hex "$1"; }

[ -e ray_token ] || random 32 > ray_token

if ! [ -e htpasswd ]; then
    password=$(random 12)
    # nginx checks it with every request: a slow hash would cost more than it guards, of a password nobody can guess
    echo "raysift:$(openssl passwd -apr1 "$password")" > htpasswd
    echo "user raysift, password $password (told only once)"
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
