# SPDX-License-Identifier: MIT
# What the tests of users and of TLS share: hashes of passwords, ACL files, certificates made by the openssl command.
"""ACL files and certificates for the black-box tests."""

import hashlib
import os
import shutil
import ssl

from harness import Skip, command, equal, memimage
from resp import Client


def fast(password):
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def slow(password):
    status, out, err = memimage("acl", "hash", input_text=password)
    equal(status, 0, err)
    return out.strip()


def acl_file(t, *lines):
    path = os.path.join(t.scratch(), "users.acl")
    write(path, *lines)
    return path


def write(path, *lines):
    with open(path, "w", encoding="ascii") as handle:
        handle.write("\n".join(lines) + "\n")
    os.chmod(path, 0o600)


def openssl(*words):
    status, _, err = command("openssl", *words)
    equal(status, 0, err)


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, folder):
        if shutil.which("openssl") is None:
            raise Skip("the openssl command is not installed")
        self.folder = folder
        self.ca = self.path("ca.pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-keyout", self.path("ca.key"), "-out", self.ca, "-subj", "/CN=authority")

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, alternative="DNS:localhost,IP:127.0.0.1"):
        """A key and a certificate; returns their paths."""
        key, request, certificate = (self.path(f"{name}.{end}") for end in ("key", "csr", "pem"))
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
                request, "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}")
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.path("ca.key"), "-CAcreateserial",
                "-copy_extensions", "copy", "-days", "2", "-out", certificate)
        os.chmod(key, 0o600)
        return certificate, key


class TlsClient(Client):
    """The RESP client over TLS."""

    def __init__(self, port, context, timeout=20.0):
        super().__init__(port, timeout=timeout)
        self.socket = context.wrap_socket(self.socket, server_hostname="localhost")


def trusting(authority, certificate=None, key=None):
    context = ssl.create_default_context(cafile=authority.ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context
