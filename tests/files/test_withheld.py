"""What a model cannot be talked into attaching, and that no swap of folders or files changes what was checked."""

from __future__ import annotations

import base64
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

from mcp_a2a.api.files import Attachments, FileArg, SaveFilesRequest
from mcp_a2a.errors.tasks import FileError
from mcp_a2a.node.files import attaching as attaching_module
from mcp_a2a.node.files.attaching import Attaching
from mcp_a2a.node.files.safe_open import open_resolved
from mcp_a2a.node.files.withheld import CheckedFile, check_name
from mcp_a2a.protocol.blob import CHUNK_SIZE, MAX_INLINE_SIZE
from mcp_a2a.protocol.ticket import PREFIX
from mcp_a2a.store.keyfile import KEY_FILE, load_identity
from mcp_a2a.store.schema import MIGRATIONS
from mcp_a2a.store.work_folder import workroom
from tests.files.scenes import MIB, answer, next_item, some_file, task
from tests.node.world import World, acquainted

TRIES = 1_000
PEM = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture
async def attaching(tmp_path: Path) -> AsyncIterator[Attaching]:
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world")
    async with world.person("alice") as alice:
        yield Attaching(alice.node.context, tmp_path / "downloads", tmp_path / "home")


def model(path: Path) -> Attachments:
    """Of a client whose user works in `folder`."""
    roots = tuple(str(parent) for parent in path.parents if parent.name == "project")
    return Attachments(files=(FileArg(path=str(path)),), roots=roots)


def person(path: Path) -> Attachments:
    return Attachments(files=(FileArg(path=str(path)),), consent="typed")


def program(path: Path) -> Attachments:
    return Attachments(files=(FileArg(path=str(path)),), consent="waived")


async def content(attaching: Attaching, what: Attachments) -> bytes:
    (part,) = (await attaching.attach((), what)).parts
    return base64.b64decode(part.raw or "")


# --- paths ----------------------------------------------------------------------------------------


@contextmanager
def meanwhile(act: Callable[[], None]) -> Iterator[None]:
    """Does something again and again in another thread."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            act()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


SWAP = """
import os, sys
inner, aside, link, parent = sys.argv[1:]
while os.getppid() == int(parent):
    os.rename(inner, aside); os.rename(link, inner); os.rename(inner, link); os.rename(aside, inner)
"""


@pytest.fixture
def swapped(tmp_path: Path, folder: Path) -> Iterator[Path]:
    """A file within the folder, whose own folder another process swaps for a link that leads out."""
    outside, inner = tmp_path / "outside", folder / "inner"
    for place, words in ((outside, "SECRET"), (inner, "harmless")):
        place.mkdir()
        (place / "notes.txt").write_text(words)
    (folder / "link").symlink_to(outside)
    places = (str(inner), str(folder / "aside"), str(folder / "link"))
    with subprocess.Popen([sys.executable, "-c", SWAP, *places, str(os.getpid())]) as swapping:
        yield inner / "notes.txt"
        swapping.kill()


async def test_a_folder_that_is_swapped_for_a_link_never_leads_out(attaching: Attaching, swapped: Path) -> None:
    seen: Counter[bytes] = Counter()
    for _ in range(TRIES):
        try:
            seen[await content(attaching, model(swapped))] += 1
        except FileError:
            seen[b"refused"] += 1
    assert seen[b"SECRET"] == 0
    assert set(seen) <= {b"harmless", b"refused"}


async def test_a_folder_that_is_swapped_right_after_the_check_does_not_lead_out(
    attaching: Attaching, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, inner = tmp_path / "outside", folder / "inner"
    for place, words in ((outside, "SECRET"), (inner, "harmless")):
        place.mkdir()
        (place / "notes.txt").write_text(words)

    def check_and_swap(path: Path, shown: str) -> None:
        check_name(path, shown)
        shutil.rmtree(inner)
        inner.symlink_to(outside)

    monkeypatch.setattr(attaching_module, "check_name", check_and_swap)
    with pytest.raises(FileError, match="cannot be attached"):
        await attaching.attach((), model(inner / "notes.txt"))


def test_a_link_that_comes_between_the_check_and_the_walk_ends_it(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    (tmp_path / "outside" / "deep" / "notes.txt").write_text("SECRET")
    (folder / "inner" / "deep").mkdir(parents=True)
    (folder / "inner" / "deep" / "notes.txt").write_text("harmless")
    checked = (folder / "inner" / "deep" / "notes.txt").resolve(strict=True)
    os.close(open_resolved(checked))
    shutil.rmtree(folder / "inner")
    (folder / "inner").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError):  # noqa: PT011  ENOTDIR or ELOOP, by system
        open_resolved(checked)


async def test_a_link_within_an_allowed_folder_works(attaching: Attaching, folder: Path) -> None:
    (folder / "real").mkdir()
    (folder / "real" / "notes.txt").write_text("harmless")
    (folder / "short").symlink_to(folder / "real")
    (folder / "notes").symlink_to(folder / "short" / "notes.txt")
    assert await content(attaching, model(folder / "notes")) == b"harmless"


async def test_a_second_name_of_a_file_is_not_attached_for_a_model(
    attaching: Attaching, tmp_path: Path, folder: Path
) -> None:
    (folder / "notes.txt").hardlink_to(some_file(tmp_path, 9, "outside.txt"))
    for what in (model(folder / "notes.txt"), program(folder / "notes.txt")):
        with pytest.raises(FileError, match="another name"):
            await attaching.attach((), what)
    assert len(await content(attaching, person(folder / "notes.txt"))) == 9


async def test_a_second_name_of_our_own_key_is_attached_for_nobody(
    attaching: Attaching, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "home" / "identities" / "default").mkdir(parents=True, mode=0o700)
    load_identity(tmp_path / "home" / "identities" / "default", b"k" * 32)
    (folder / "notes.txt").hardlink_to(tmp_path / "home" / "identities" / "default" / KEY_FILE)
    for what in (model(folder / "notes.txt"), person(folder / "notes.txt")):
        with pytest.raises(FileError, match="belongs to this node"):
            await attaching.attach((), what)


async def test_a_command_passes_on_the_files_that_it_was_given_to_work_on(attaching: Attaching, tmp_path: Path) -> None:
    with workroom(tmp_path / "home") as room:
        given = room.make_folder() / "report.txt"
        given.write_text("x")
        (given.parent / "id_rsa").write_text("x")
        (tmp_path / "home" / "settings").write_text("x")
        assert await content(attaching, program(given)) == b"x"
        for what in (model(given), program(given.parent / "id_rsa"), program(tmp_path / "home" / "settings")):
            with pytest.raises(FileError, match=r"may not be attached|belongs to this node"):
                await attaching.attach((), what)


@pytest.fixture
def mounted(tmp_path: Path, folder: Path) -> Iterator[Path]:
    """The data folder at a second place."""
    (tmp_path / "home").mkdir()
    (folder / "inner").mkdir()
    if subprocess.run(["mount", "--bind", tmp_path / "home", folder / "inner"], check=False).returncode:
        pytest.skip("this machine lets nobody mount folders")
    yield folder / "inner"
    subprocess.run(["umount", folder / "inner"], check=True)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root mounts folders, and so on Linux")
async def test_our_own_files_are_not_attached_where_their_folder_is_mounted_a_second_time(
    attaching: Attaching, mounted: Path
) -> None:
    (mounted / "settings").write_text("harmless to look at")
    for what in (model(mounted / "settings"), person(mounted / "settings")):
        with pytest.raises(FileError, match="belongs to this node"):
            await attaching.attach((), what)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        ".ssh/config", ".SSH/known_hosts", ".aws/credentials", ".gnupg/trustdb.gpg", ".kube/config",
        ".docker/config.json", ".netrc", "_netrc", ".env", ".env.local", "prod.env", "server.pem", "tls.KEY", "a.p12",
        "a.pfx", "id_rsa", "id_ed25519", "id_ed25519.bak", "id_ecdsa_sk", ".bash_history", ".zsh_history",
        ".git-credentials", ".pgpass", ".npmrc", "http.token", "vault.kdbx", "Library/Keychains/login.keychain-db",
        ".config/google-chrome/Default/Bookmarks", ".mozilla/x/prefs.js", "Cookies", "logins.json", "key4.db",
        ".config/gcloud/configurations/config_default", "login.keychain",
        ".vault-token", "client_secret_1.apps.json", "secrets.yaml", "wallet.dat", ".terraformrc", ".codex/auth.json",
    ],
)  # fmt: skip
async def test_files_of_that_name_are_withheld_unless_a_person_typed_them(
    attaching: Attaching, folder: Path, name: str
) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    (folder / "innocent").symlink_to(path)
    for what in (model(path), program(path), model(folder / "innocent")):
        with pytest.raises(FileError, match="may not be attached"):
            await attaching.attach((), what)
    assert await content(attaching, person(path)) == b"x"


@pytest.mark.parametrize(
    "name",
    [
        "ID_RSA ", "id_rsa~", ".Env\nx", ".\u212aube/x", "run/secrets/db", "krb5cc_1000", "http.KeyTab", "kubeconfig",
        "etc/system-connections/home.nmconnection", "Passwords.xlsx", ".claude/.credentials.json", "token.json",
        ".terraform.d/credentials.tfrc.json", ".vnc/passwd", "key.p8", "etc/shadow-", "etc/gshadow-",
    ],
)  # fmt: skip
def test_other_spellings_and_other_programs_names_are_withheld(name: str) -> None:
    with pytest.raises(FileError, match="may not be attached"):
        check_name(Path("/project") / name, name)


@pytest.mark.parametrize(
    "name", ["environment.md", "keys.txt", "monkey", "history.md", "ssh.md", "tokens.csv", "env.py"]
)
async def test_files_that_are_only_named_alike_go(attaching: Attaching, folder: Path, name: str) -> None:
    (folder / name).write_text("x")
    assert await content(attaching, model(folder / name)) == b"x"


# --- content --------------------------------------------------------------------------------------


def node_database(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(MIGRATIONS[0])
    return path.read_bytes()


@pytest.mark.parametrize(
    "secret",
    [
        PEM,
        b"-----BEGIN PRIVATE KEY-----\nMIIE\n",
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
        b'{"private_key": "-----BEGIN RSA PRIVATE KEY-----\\nMIIE"}',
        b"PuTTY-User-Key-File-3: ssh-ed25519\n",
        b"AGE-SECRET-KEY-1" + b"Q" * 58,
        b"[default]\naws_secret_access_key = " + b"A1b2" * 10,
        b"AWS_SECRET_ACCESS_KEY='" + b"A1b2" * 10 + b"'",
        b"users:\n- user:\n    client-key-data: " + b"QUJD" * 20,
        b"0123456789abcdef" * 4 + b"\n",
        b"A" * 43 + b"\n",
        b'{"id": "x", "name": "shop", "secret": "' + b"ab" * 32 + b'"}',
        b"the ticket: " + PREFIX.encode() + b"abcd" * 30,
        b"\x37\x7f\x06\x82" + b"\0" * 28,
        b"ws://relay:6060/#did:key:z6Mk&admit=" + b"Ab1-" * 11,
        b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n",
        PEM.decode().encode("utf-16"),
        b'{"kty": "OKP", "crv": "Ed25519", "d": "' + b"aB3_" * 11 + b'"}',
        b"[remote]\n  url = https://me:ghp_" + b"Ab12" * 9 + b"@github.com/me/it",
        b"github_pat_" + b"Ab12" * 20,
        b"glpat-" + b"Ab12" * 5,
        b"SLACK=xoxb-" + b"1234567890-" * 3,
        b"OPENAI_API_KEY=sk-proj-" + b"Ab1_" * 12,
        b"ANTHROPIC_API_KEY=sk-ant-api03-" + b"Ab1_" * 12,
        b"sk_live_" + b"Ab12" * 6,
        b"key: AIza" + b"Ab1_-" * 7,
        b"hvs." + b"Ab12" * 6,
        b"//registry.npmjs.org/:_authToken=npm_" + b"Ab12" * 9,
        b"password = pypi-AgE" + b"Ab12" * 12,
    ],
)
async def test_a_secret_under_a_harmless_name_is_withheld(attaching: Attaching, folder: Path, secret: bytes) -> None:
    path = folder / "notes.txt"
    path.write_bytes(secret)
    for what in (model(path), program(path)):
        with pytest.raises(FileError, match="may not be attached"):
            await attaching.attach((), what)
    assert await content(attaching, person(path)) == secret


def read_all(path: Path) -> bytes:
    with path.open("rb") as source:
        checked = CheckedFile(source, path.name)
        return b"".join(iter(lambda: checked.read(CHUNK_SIZE), b""))


@pytest.mark.parametrize(
    "secret",
    [
        b'[remote "origin"]\n\turl = https://me:hunter2@git.example/me/it.git\n',
        b"[http]\n\textraheader = AUTHORIZATION: basic eC1hY2Nlc3MtdG9rZW46MTIz\n",
        b"url = https://0123456789abcdef0123456789abcdef01234567@git.example/me/it\n",
        b"[global]\nindex-url = https://build:s3cr%40t@pypi.example/simple\n",
        b"DATABASE_URL=postgres://app:x7Kp@db:5432/app\nREDIS=redis://:x7Kp@cache\n",
        b'{"auths": {"registry.example": {"auth": "bWU6aHVudGVyMmh1bnRlcg=="}}}',
        b"//npm.example/:_authToken=0a1b2c3d-0000\n",
        b"users:\n- name: me\n  user:\n    token: eyJhbGciOiJSUzI1NiJ9\n",
        b"data:\n  tls.key: " + base64.b64encode(PEM) + b"\n",
        b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n",
        b"[Interface]\nPrivateKey = " + b"aB3/" * 10 + b"aB3=\n",
        b"aB3/" * 10 + b"aB3=\n",
        b"untrusted comment: minisign encrypted secret key\nRWRTY0Iy\n",
        b"(21:protected-private-key(3:rsa",
        b"Key: (private-key (ecc (curve Ed25519)",
        b"AGE-PLUGIN-YUBIKEY-1" + b"Q" * 24,
        b'{"kty":"oct","k":"' + b"aB3_" * 6 + b'"}',
        b'{"k":"' + b"aB3_" * 6 + b'","alg":"HS256","kty":"oct"}',
        b"Key: (protected-private-key\n (rsa",
        b"email=x\n_auth = bWU6aHVudGVyMg==\n",
        b"//npm.example/:_password=aHVudGVy\n",
        b'{"access_token": "' + b"aB3_" * 6 + b'"}',
        b"\xef\xbb\xbf" + b"0123456789abcdef" * 4 + b"\r\n",
        ("A1b2" * 10 + "A1b").encode("utf-16"),
        b"eyJhbGciOiJSUzI1NiJ9." + b"eyJpc3MiOiJr" * 3 + b"." + b"aB3_" * 20,
        ("export T=ghp_" + "Ab12" * 9).encode("utf-32"),
        "aws_secret_access_key = ".encode("utf-16-be") + ("A1b2" * 10).encode("utf-16-be"),
        PEM.replace(b"\n", b"\r\n"),
        b"\xfe\xed\xfe\xed\0\0\0\2",
        b"\x03\xd9\xa2\x9a\x67\xfb\x4b\xb5",
        b"\x95\x01\xd8\x04\x5e\0\0\0\x01\x04\0",
        b"<server><username>me</username><password>hunter2</password></server>",
    ],
)
def test_a_credential_in_a_configuration_a_binary_form_or_another_encoding_is_withheld(
    tmp_path: Path, secret: bytes
) -> None:
    (tmp_path / "notes").write_bytes(secret)
    with pytest.raises(FileError, match="may not be attached"):
        read_all(tmp_path / "notes")


@pytest.mark.parametrize(
    "text",
    [
        b"task-abcdefghij and risk-proj and ghp_ and AIza and sk-proj- and xox and admit=",
        b'{"kty": "OKP", "crv": "Ed25519", "x": "' + b"aB3_" * 11 + b'"}',  # the public half
        b"BEGIN PRIVATE KEY is how it starts",
        "ja: -----BEGIN CERTIFICATE-----".encode("utf-16"),
    ],
)
async def test_what_only_resembles_a_secret_goes(attaching: Attaching, folder: Path, text: bytes) -> None:
    path = folder / "notes.txt"
    path.write_bytes(text)
    assert await content(attaching, model(path)) == text


async def test_the_keys_and_databases_of_every_data_folder_are_withheld(
    attaching: Attaching, tmp_path: Path, folder: Path
) -> None:
    other = folder / "another home"
    other.mkdir()
    load_identity(other, b"k" * 32)
    (other / KEY_FILE).rename(other / "notes")
    (other / "data").write_bytes(node_database(tmp_path / "node.db"))
    for name in ("notes", "data"):
        with pytest.raises(FileError, match="may not be attached"):
            await attaching.attach((), model(other / name))


@pytest.mark.parametrize(
    "text",
    [
        b"postgres://postgres:postgres@localhost/db https://user:${TOKEN}@host https://me@host http://user:password@h",
        b"https://example.com:443/@me/a:b@c and git@github.com:me/it.git",
        b"Authorization: Bearer TOKEN, or Authorization: Bearer ${process.env.TOKEN}",
        b"token: AbstractTokenOfAnotherService\npassword: Optional[PasswordOfTheUser]\n",
        b"my_password = the_password_of(user)\n",
        b"\n_auth = HTTPBasicAuth(user1)\n_auth_header = header_of(request1)\n_password_rule = re.compile('[0-9]+')",
        b"ansible-playbook --private-key ~/.ssh/id_rsa\n  --private-key (required)\na public-private-key (asymmetric)",
        b'{"next_page_token": "CAUQAA12345678901234", "bos_token": "begin_of_text_01"}\nPage token: eav1OzQB0OM8rLd1',
        b'{"k": "electronics-and-computers-2"}',
        b"git clone https://the-engineering-team@dev.azure.com/x\nhttp://localhost:3000,me@example.com\n",
        b"{ token: this.tokenService.of(user1,256), password: passwordEncoder.encode(user1) }",
        b"token: process.env.GITHUB_TOKEN_V2\n<password>password</password><password>string</password>",
        b"0123456789abcdef0123456789abcdef01234567\n",  # a commit
    ],
)
def test_a_placeholder_a_public_address_and_a_type_are_no_credential(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "notes").write_bytes(text)
    assert read_all(tmp_path / "notes") == text


KINDS = serialization.PrivateFormat
DER = serialization.Encoding.DER


@pytest.mark.parametrize("kind", [KINDS.PKCS8, KINDS.TraditionalOpenSSL])
@pytest.mark.parametrize("of", ["ec", "rsa"])
def test_a_private_key_in_der_is_withheld_and_its_public_half_goes(tmp_path: Path, of: str, kind: KINDS) -> None:
    secret = ec.generate_private_key(ec.SECP256R1()) if of == "ec" else rsa.generate_private_key(65537, 2048)
    (tmp_path / "notes").write_bytes(secret.private_bytes(DER, kind, serialization.NoEncryption()))
    with pytest.raises(FileError, match="may not be attached"):
        read_all(tmp_path / "notes")
    public = secret.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public").write_bytes(public)
    assert read_all(tmp_path / "public") == public


def test_an_encrypted_private_key_is_withheld(tmp_path: Path) -> None:
    secret = ed25519.Ed25519PrivateKey.generate()
    lock = serialization.BestAvailableEncryption(b"x")
    (tmp_path / "notes").write_bytes(secret.private_bytes(DER, KINDS.PKCS8, lock))
    (tmp_path / "ring").write_bytes(pkcs12.serialize_key_and_certificates(b"me", secret, None, None, lock))
    for name in ("notes", "ring"):
        with pytest.raises(FileError, match="may not be attached"):
            read_all(tmp_path / name)


@pytest.mark.parametrize("table", ["logins(x)", "moz_cookies(x)", "nssPrivate(x)"])
def test_a_database_of_a_browser_is_withheld_under_any_name(tmp_path: Path, table: str) -> None:
    with closing(sqlite3.connect(tmp_path / "notes")) as connection, connection:
        connection.execute(f"CREATE TABLE {table}")
    with pytest.raises(FileError, match="passwords or cookies"):
        read_all(tmp_path / "notes")


@pytest.mark.parametrize("at", [0, MAX_INLINE_SIZE, 2 * MIB - len(PEM), MIB - 20])
async def test_a_secret_anywhere_in_a_large_file_stops_it(attaching: Attaching, folder: Path, at: int) -> None:
    filled = bytearray(b"x" * 2 * MIB)
    filled[at : at + len(PEM)] = PEM
    (folder / "log.txt").write_bytes(filled)
    with pytest.raises(FileError, match="private key"):
        await attaching.attach((), model(folder / "log.txt"))


@pytest.mark.parametrize("step", [1, 7, 64, 4096])
def test_a_secret_is_seen_however_the_file_is_read(folder: Path, step: int) -> None:
    path = folder / "notes"
    path.write_bytes(b"x" * 1000 + PEM)
    with path.open("rb") as source, pytest.raises(FileError):
        checked = CheckedFile(source, "notes")
        while checked.read(step):
            pass


async def test_a_file_that_becomes_another_one_while_it_is_read_never_brings_a_secret(
    attaching: Attaching, folder: Path
) -> None:
    path = folder / "notes.txt"
    path.write_bytes(b"harmless")

    def rewrite() -> None:
        path.write_bytes(PEM)
        path.write_bytes(b"harmless")

    seen = set()
    with meanwhile(rewrite):
        for _ in range(TRIES):
            try:
                seen.add(await content(attaching, model(path)))
            except FileError:
                seen.add(b"refused")
    assert not any(b"PRIVATE KEY" in read for read in seen)


@pytest.mark.parametrize("then", [PEM, b"", b"harm", b"harmless and more"])
async def test_two_contents_of_one_file_are_not_read_as_one(folder: Path, then: bytes) -> None:
    """The end of a key behind the beginning of a note would show no marker."""
    path = folder / "notes.txt"
    path.write_bytes(b"harmless, and of some length")
    with path.open("rb", buffering=0) as source:
        checked = CheckedFile(source, "notes")
        assert checked.read(8) == b"harmless"
        path.write_bytes(then)
        with pytest.raises(FileError, match="changed while it was read"):
            checked.read(1024)


# --- the other ways in and out --------------------------------------------------------------------


async def test_a_worker_does_not_answer_with_a_key(tmp_path: Path) -> None:
    (tmp_path / "id_ed25519").write_bytes(PEM)
    world = World(tmp_path)
    async with world.person("alice") as alice, world.person("bob", accept="anyone") as bob:
        await acquainted(alice, bob)
        await alice.api.call(task(text="give"))
        item = await next_item(bob)
        with pytest.raises(FileError, match="may not be attached"):
            await answer(bob, item, tmp_path / "id_ed25519")


async def test_a_link_that_waits_in_the_folder_for_downloads_is_not_followed(tmp_path: Path) -> None:
    world = World(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    async with world.person("alice") as alice, world.person("bob", accept="anyone") as bob:
        await acquainted(alice, bob)
        await alice.api.call(task(some_file(tmp_path, 9, "report.pdf")))
        item = await next_item(bob)
        saved_to = tmp_path / "bob" / "files"
        saved_to.mkdir(mode=0o700)
        (saved_to / "report.pdf").symlink_to(victim)
        saved = await bob.api.call(SaveFilesRequest(task_id=item.task_id))
        assert victim.read_text() == "mine"
        assert [file.name for file in saved.files] == ["report (2).pdf"]
