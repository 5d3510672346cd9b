"""Which addresses a photo may be fetched from."""

import ipaddress
import socket

import pytest

from seedtool.errors import PhotoError
from seedtool.faces.photos import web


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "100.100.100.200",  # Alibaba's metadata
        "168.63.129.16",  # Azure's
        "169.254.169.254",  # AWS's, Google's
        "169.254.170.2",  # ECS's
        "192.0.0.192",  # Oracle's
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
    ],
)
def test_an_address_that_is_not_on_the_public_internet(address):
    assert not web.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"],
)
def test_an_address_on_the_public_internet(address):
    assert web.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://photos.example/a.jpg",
        "ftp://photos.example/a.jpg",
        "https:///a.jpg",
        "https://user:secret@photos.example/a.jpg",
        "https://photos.example:99999/a.jpg",
        "https://[::1/a.jpg",
        "https://photos.example/a b.jpg",
        "https://photos.example/a\r\nHost: other",
        "https://127.0.0.1/a.jpg",
        "https://2130706433/a.jpg",
        "https://0x7f.1/a.jpg",
        "https://[::1]/a.jpg",
        "https://[::ffff:7f00:1]/a.jpg",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost./a.jpg",
    ],
)
def test_an_address_that_is_refused_before_anything_is_connected(url, approved, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises(PhotoError) as caught:
        web.fetch(url)
    assert "secret" not in caught.value.message + caught.value.remedy
    assert caught.value.remedy
    approved(caught.value)


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("1.1.1.1", 443)), (2, 1, 6, "", ("10.0.0.1", 443))]
    )
    with pytest.raises(PhotoError) as caught:
        web.fetch("https://photos.example/a.jpg?X-Amz-Signature=secret")
    assert 'private_photo_hosts = ["photos.example"]' in caught.value.remedy
    assert caught.value.message.startswith("https://photos.example/a.jpg:")


def test_an_address_is_shown_with_its_port_and_without_secrets():
    assert (
        web.shown("https://me:secret@photos.example:8443/a.jpg?X-Amz-Signature=1#f")
        == "https://photos.example:8443/a.jpg"
    )
    assert web.shown("https://[::1]:9/a.jpg") == "https://[::1]:9/a.jpg"
    assert web.shown("https://photos.example/a.jpg") == "https://photos.example/a.jpg"
    assert web.shown("https://photos.example:port/a.jpg") == "an address that cannot be read"
