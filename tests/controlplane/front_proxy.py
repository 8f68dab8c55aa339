"""The API server's own certificate, by which servers behind it know it: what kubeadm calls the front proxy."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

COMMON_NAME = "front-proxy-client"


def front_proxy_flags(folder: Path) -> list[str]:
    """Flags of kube-apiserver for certificates that are written into `folder`."""
    folder.mkdir(exist_ok=True)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("front-proxy-ca", authority_key, "front-proxy-ca", authority_key, authority=True)
    write_client(folder, COMMON_NAME, authority_key)
    (folder / "ca.crt").write_bytes(authority.public_bytes(Encoding.PEM))
    return [
        f"--requestheader-client-ca-file={folder / 'ca.crt'}",
        f"--requestheader-allowed-names={COMMON_NAME}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={folder / 'client.crt'}",
        f"--proxy-client-key-file={folder / 'client.key'}",
    ]


def write_client(folder: Path, common_name: str, authority_key: ec.EllipticCurvePrivateKey) -> None:
    """Write `client.crt` and `client.key`, signed by the authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(common_name, key, "front-proxy-ca", authority_key, authority=False)
    (folder / "client.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "client.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )


def _certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
