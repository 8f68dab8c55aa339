"""Certificate: by which the API server knows the operator when it asks for figures. Made here, kept in a Secret."""

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tomoul.kube.client import Object
from tomoul.kube.resources import SECRETS
from tomoul.plan.world import Key, Manifest

CERTIFICATE, PRIVATE_KEY = "tls.crt", "tls.key"
VALID = timedelta(days=365)
RENEWED = timedelta(days=30)
"""How long before its end another one is made."""
_CLOCKS_DIFFER = timedelta(minutes=5)


def certificate_secret(key: Key, host: str, now: datetime, labels: Mapping[str, str]) -> Manifest:
    """A Secret with a new key and a certificate for `host` that is signed by itself."""
    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(usage, critical=False)
        .sign(private_key, hashes.SHA256())
    )
    data = {
        CERTIFICATE: certificate.public_bytes(Encoding.PEM),
        PRIVATE_KEY: private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    return {
        "apiVersion": SECRETS.api_version,
        "kind": SECRETS.kind,
        "type": "kubernetes.io/tls",
        "metadata": {"name": key.name, "namespace": key.namespace, "labels": dict(labels)},
        "data": {name: base64.b64encode(value).decode() for name, value in data.items()},
    }


def is_usable(secret: Object, host: str, now: datetime) -> bool:
    """Whether a Secret has a certificate for `host` that will last for a while."""
    try:
        certificate = x509.load_pem_x509_certificate(base64.b64decode(secret["data"][CERTIFICATE]))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (KeyError, ValueError, x509.ExtensionNotFound):
        return False
    return host in names.get_values_for_type(x509.DNSName) and certificate.not_valid_after_utc - now > RENEWED
