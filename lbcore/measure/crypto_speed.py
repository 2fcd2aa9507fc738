"""What ciphers and signatures cost with the processor's AES instructions and without them.

Rule of this file: it measures in a process of its own, because OpenSSL looks at the processor once, when it is loaded.

Theory. OpenSSL asks the processor what it can do and picks its code by that. OPENSSL_ia32cap (x86) and OPENSSL_armcap
(ARM) talk it out of instructions that are there: AES and the carry-less multiplication that GCM needs, no others. The
code that is left is what an older processor would have run.

Trap. Where a hypervisor hides the instructions already, or another library is used, the mask changes nothing. Look at
the numbers before you tell a story about them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from lbcore.measure.clock import Comparison, compare

RECORD = 16384
MASK = {
    "OPENSSL_ia32cap": "~0x200000200000000:~0x60000000000",  # AES-NI, PCLMULQDQ : VAES, VPCLMULQDQ
    "OPENSSL_armcap": "1",  # NEON, and nothing beyond
}
AES, CHACHA, RSA, ECDSA = "AES-128-GCM", "ChaCha20-Poly1305", "RSA-2048 signature", "P-256 signature"


def speeds(masked: bool) -> Comparison:
    """Nanoseconds to seal one record of 16384 bytes (AES, CHACHA), and to sign (RSA, ECDSA).

    RuntimeError with the child's words where it fails.
    """
    environment = {name: value for name, value in os.environ.items() if name not in MASK}
    child = subprocess.run(
        [sys.executable, "-m", __name__],
        env={**environment, **(MASK if masked else {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if child.returncode:
        raise RuntimeError(f"the measuring process ended with {child.returncode}: {child.stderr[-300:]}")
    return Comparison({name: tuple(values) for name, values in json.loads(child.stdout).items()}, AES)


def here() -> Comparison:
    """The same in this process, as OpenSSL was loaded into it."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

    data, nonce = bytes(RECORD), bytes(12)
    aes, chacha = AESGCM(bytes(16)), ChaCha20Poly1305(bytes(32))
    rsa_key, ec_key = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)  # as TLS 1.3 has it
    return compare(
        {
            AES: lambda: aes.encrypt(nonce, data, None),
            CHACHA: lambda: chacha.encrypt(nonce, data, None),
            RSA: lambda: rsa_key.sign(data[:130], pss, hashes.SHA256()),
            ECDSA: lambda: ec_key.sign(data[:130], ec.ECDSA(hashes.SHA256())),
        },
        rounds=7,
    )


if __name__ == "__main__":
    print(json.dumps(here().samples))
