#!/bin/sh
# anvil with its state in a file. anvil rewrites that file in place, so a kill within that instant leaves it cut off:
# the copy from the last start is taken then.
set -eu
state=/data/state.json
if [ -s "$state" ]; then
  if [ "$(tail -c 1 "$state")" = "}" ]; then
    cp "$state" "$state.whole"
  elif [ -s "$state.whole" ]; then
    echo "the chain's state was cut off by a crash; the copy from its last start is taken" >&2
    mv "$state" "$state.torn"
    cp "$state.whole" "$state"
  else
    echo "the chain's state is cut off, and there is no earlier copy: restore one, or empty the claim" >&2
    exit 1
  fi
fi
# The mnemonic is this deployment's own: anvil's default accounts are known to everybody.
exec anvil --host 0.0.0.0 --port 8545 --chain-id 31337 --accounts 1 --mnemonic "$ANVIL_MNEMONIC" \
  --state "$state" --state-interval 1 --preserve-historical-states --no-cors --quiet
