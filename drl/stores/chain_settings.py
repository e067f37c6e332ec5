"""Which chain, which contract and which signer the run ledger uses."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from drl.errors import InputError
from drl.stores.chain_sender import Patience
from drl.stores.settings import read_variable

# The accounts of the mnemonic that every development chain publishes. Anybody can sign for them.
PUBLISHED_ACCOUNTS = frozenset(
    {
        "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
        "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc",
        "0x90f79bf6eb2c4f870365e785982e1f101e93b906",
        "0x15d34aaf54267db7d7c367839aaf71a00a2c6a65",
        "0x9965507d1a55bcc2695c58ba16fb37d819b0a4dc",
        "0x976ea74026e726554db657fa54763abd0c3a0aa9",
        "0x14dc79964da2c08b23698b3d3cc7ca32193d9955",
        "0x23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f",
        "0xa0ee7a142d267c1f36714e4a8f75612f20a79720",
    }
)


@dataclass(frozen=True)
class ChainSettings:
    """Which chain, which contract, which signer.

    Attributes:
        rpc_url: JSON-RPC address; kept out of ``repr`` because public nodes put an access token into it.
        chain_id: EIP-155 id that the chain must have.
        private_key: the signer's key, 32 bytes in hexadecimal.
        contract: address of the run ledger, or None for the one that :meth:`Ledger.deploy` makes.
        genesis: hash that block 0 must have, or None to keep to the first chain of this id ever written to.
        finality: ``instant``, ``depth:N``, ``tag:safe`` or ``tag:finalized``.
        max_fee_gwei: most that is offered for a unit of gas.
        first_block: a block at or before the contract's creation, where reading an account starts.
        patience: how long to wait for what.
    """

    rpc_url: str = field(repr=False)
    chain_id: int
    private_key: str = field(repr=False)
    contract: str | None = None
    genesis: str | None = None
    finality: str = "instant"
    max_fee_gwei: float = 100.0
    first_block: int = 0
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def from_environment(cls) -> ChainSettings:
        """Read ``DRL_EVM_{RPC_URL,CHAIN_ID,PRIVATE_KEY}``.

        Optional: ``DRL_EVM_{CONTRACT,GENESIS,FINALITY,MAX_FEE_GWEI,FIRST_BLOCK}``.
        """
        return cls(
            rpc_url=read_variable("DRL_EVM_RPC_URL"),
            chain_id=int(_number("DRL_EVM_CHAIN_ID", None)),
            private_key=read_variable("DRL_EVM_PRIVATE_KEY"),
            contract=os.environ.get("DRL_EVM_CONTRACT") or None,
            genesis=os.environ.get("DRL_EVM_GENESIS") or None,
            finality=read_variable("DRL_EVM_FINALITY", default="instant"),
            max_fee_gwei=_number("DRL_EVM_MAX_FEE_GWEI", "100"),
            first_block=int(_number("DRL_EVM_FIRST_BLOCK", "0")),
        )


def _number(name: str, default: str | None) -> float:
    value = read_variable(name, default=default)
    try:
        return float(value)
    except ValueError as error:
        raise InputError(
            f"{name} {value!r}: not a number", remedy="give a chain id, a number of gwei, or of a block"
        ) from error
