#!/bin/sh
# Besu as the validator whose number is in the pod's name.
set -eu
exec besu --data-path=/data --genesis-file=/chain/genesis.json \
  --node-private-key-file="/keys/validator-${HOSTNAME##*-}.key" --static-nodes-file=/chain/static-nodes.json \
  --Xdns-enabled=true --Xdns-update-enabled=true --discovery-enabled=false --nat-method=NONE --p2p-port=30303 \
  --rpc-http-enabled=true --rpc-http-host=0.0.0.0 --rpc-http-port=8545 --rpc-http-api=ETH,NET,WEB3 \
  --host-allowlist='*' --min-gas-price=0 --sync-mode=FULL --data-storage-format=FOREST
