"""Certificates in PEM."""


def are_certificates(text: str) -> bool:
    """Whether a text holds certificates, all of which can be read.

    More than the API server's rule can find out. Envoy refuses a table with one that it cannot read, and with it every
    later change of all regions.
    """
    from cryptography.x509 import load_pem_x509_certificates  # slow to import, and few Regions have a bundle

    try:
        return len(load_pem_x509_certificates(text.encode())) == text.count("-----BEGIN CERTIFICATE-----")
    except ValueError:
        return False
