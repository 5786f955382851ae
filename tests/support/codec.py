"""A payload codec as an operator might write it: everything in Temporal is encrypted."""

import os
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

KEY = b"k" * 32
NOT_A_CODEC = 7


class Encrypted(PayloadCodec):
    """AES-GCM over the whole payload."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Called before anything goes to Temporal."""
        cipher = AESGCM(KEY)
        made = []
        for payload in payloads:
            nonce = os.urandom(12)
            data = nonce + cipher.encrypt(nonce, payload.SerializeToString(), None)
            made.append(Payload(metadata={"encoding": b"binary/encrypted"}, data=data))
        return made

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Called for what comes from Temporal."""
        cipher = AESGCM(KEY)
        return [
            Payload.FromString(cipher.decrypt(each.data[:12], each.data[12:], None))
            for each in payloads
        ]
