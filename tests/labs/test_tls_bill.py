"""Lab 08: the specifications are what the model and OpenSSL say."""

import ssl

import pytest

from lbcore.l7.front.tls import KeyPair, Terminator, TlsOptions
from lbcore.labs.tls_bill import drawings, names, paying, placing, tickets
from lbcore.sim.tls_bill import Prices, bill
from lbcore.testbed import aside, tls_doors
from lbcore.testbed.tls_memory import Identity, handshake, turn


@pytest.mark.parametrize("seed", [1, 2026])
def test_the_bill_is_the_librarys(seed):
    for case in paying.cpu_cases(seed):
        mix, full, resumed, kilobyte, request = case.arguments
        wanted = 0.0
        for new, returning, requests, size in mix:
            if count := new + returning:
                one = bill(Prices(full, resumed, kilobyte, request), requests, size, returning / count)
                wanted += count * requests * sum(one.values())
        assert paying.right_cpu(*case.arguments) == pytest.approx(wanted)


def test_tickets_open_where_openssl_opens_them():
    site = Identity()
    for case in tickets.ticket_cases(3):
        visits, keys, _ = case.arguments
        contexts = {key: site.server() for key in set(keys.values())}
        client, session, real = site.client(), None, []
        for _, backend in visits:
            one = handshake(contexts[keys[backend]], client, session)
            session = one.session
            real.append(one.resumed)
        assert tickets.right_resumed(visits, keys, lifetime=10_000) == real


def test_openssl_believes_a_choice_exactly_where_the_certificate_fits():
    sites = [Identity("P-256", *some) for some in names.SHOP]
    for asked in [case.arguments[0] for case in names.name_cases(1)[:14]]:
        chosen = names.right_certificate(asked, names.SHOP)
        anyone = any(drawings.believed(site, asked) for site in sites)
        assert drawings.believed(sites[chosen], asked) == anyone


def test_the_choice_is_the_proxys(tmp_path):
    sites = [Identity("P-256", *some) for some in names.SHOP]
    pairs = []
    for number, site in enumerate(sites):
        path = tmp_path / f"{number}.pem"
        site.certificate.private_key_and_cert_chain_pem.write_to_path(str(path))
        pairs.append(KeyPair(chain=str(path), key=str(path)))
    terminator = Terminator(TlsOptions(certificates=tuple(pairs)))
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.check_hostname = False
    for site in sites:
        site.authority.configure_trust(client_side)
    for asked in [case.arguments[0] for case in names.name_cases(1)[:15]]:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = client_side.wrap_bio(to_client, to_server, server_hostname=asked)
        server = terminator.context.wrap_bio(to_server, to_client, server_side=True)
        while not all([turn(client.do_handshake)[0], turn(server.do_handshake)[0]]):
            pass
        shown = [value for _, value in client.getpeercert()["subjectAltName"]]
        assert shown == names.SHOP[names.right_certificate(asked, names.SHOP)]


def test_what_the_middle_can_read_is_what_the_table_says():
    for mode, lacking in placing.CANNOT.items():
        answer, read = aside.run(tls_doors.overhear(mode, b"secret"))
        assert answer == b"SECRET"
        assert read == (placing.SECRET in lacking) == (placing.PATH not in lacking)
