"""The official SDK 1.x verifies the card at a URL with the key that its kid names, and signs one of its own.

Prints, as JSON, what it read and what it signed.
"""

import asyncio
import json
import sys

import httpx
from a2a.client import A2ACardResolver
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from a2a.utils.signing import create_agent_card_signer, create_signature_verifier
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.json_format import MessageToDict

LETTERS = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def key_of(kid, _):
    number = 0
    for letter in kid.partition("#")[0].removeprefix("did:key:z"):
        number = number * 58 + LETTERS.index(letter)
    return Ed25519PublicKey.from_public_bytes(number.to_bytes(34)[2:])


def did_of(key):
    number, letters = int.from_bytes(b"\xed\x01" + key.public_key().public_bytes_raw()), ""
    while number:
        number, digit = divmod(number, 58)
        letters = LETTERS[digit] + letters
    return f"did:key:z{letters}"


def sign():
    card = AgentCard(
        name="sdk-agent",
        description="Zürich \N{EURO SIGN}",
        version="1",
        supported_interfaces=[
            AgentInterface(url="http://127.0.0.1:1/", protocol_binding="JSONRPC", protocol_version="1.0")
        ],
        capabilities=AgentCapabilities(streaming=False),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="behave", name="Behave", description="", tags=["test"])],
    )
    key = Ed25519PrivateKey.generate()
    header = {"alg": "EdDSA", "kid": did_of(key), "jku": None, "typ": "JOSE"}
    return MessageToDict(create_agent_card_signer(key, header)(card)), did_of(key)


async def main():
    async with httpx.AsyncClient() as http:
        card = await A2ACardResolver(http, sys.argv[1]).get_agent_card()
    create_signature_verifier(key_of, ["EdDSA"])(card)
    signed, did = sign()
    print(json.dumps({"verified": card.name, "signed": signed, "did": did}))


asyncio.run(main())
