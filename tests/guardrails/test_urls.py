"""Where a URL leads is what a browser would say, however it is written."""

from __future__ import annotations

from labelled import wrong

from remit.guardrails.urls import urls

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
WORDS = "a-long-title-of-an-article-about-the-care-of-old-apple-trees-in-winter"
CODED = "TGllYmUgS29sbGVnZW4sIGRpZSBaYWhsZW4gZGVzIGxldHp0ZW4gUXVhcnRhbHM"
ONE = [
    ("https://example.com", ""),
    ("https://example.com/", ""),
    ("https://example.com/a/b/c.html?page=2&sort=asc#top", ""),
    ("https://example.com:443/a", ""),
    ("https://EXAMPLE.com/A", ""),
    ("https://sub.example.com/", ""),
    ("https://example.com./", ""),
    (f"https://example.com/blog/{WORDS}", ""),
    ("https://example.com/search?q=how+to+prune+apple+trees", ""),
    ("https://example.com/@user/post", ""),
    ("https://docs.python.org/3/library/urllib.parse.html", ""),
    ("https://en.wikipedia.org/wiki/Uniform_Resource_Identifier", ""),
    ("https://example.com/%C3%A9t%C3%A9", ""),
    ("https://1.1.1.1/dns-query", "address"),
    ("https://[2606:4700:4700::1111]/", "address"),
    ("https://example.com:8443/", "port"),
    ("https://example.com:80/", "port"),
    ("https://user@example.com/", "credentials"),
    ("https://user:pass@example.com/", "credentials"),
    ("https://example.com@evil.example/", "credentials"),
    ("https://example.com%40evil.example/", "invalid"),
    ("https://:pass@evil.example/", "credentials"),
    ("http://127.0.0.1/", "address private"),
    ("http://127.1/", "address private"),
    ("http://0/", "address private"),
    ("http://0.0.0.0/", "address private"),
    ("http://2130706433/", "address private"),
    ("http://0x7f000001/", "address private"),
    ("http://0x7f.0.0.1/", "address private"),
    ("http://0177.0.0.1/", "address private"),
    ("http://017700000001/", "address private"),
    ("http://127.0.0.1./", "address private"),
    ("http://127。0。0。1/", "address private"),
    ("http://①②⑦.⓪.⓪.①/", "address private"),
    ("http://127.0.0.1%2f@example.com/", "credentials"),
    ("http://%31%32%37.0.0.1/", "address private"),
    ("http://10.0.0.8/", "address private"),
    ("http://172.16.5.4/", "address private"),
    ("http://172.32.5.4/", "address"),
    ("http://192.168.1.1/admin", "address private"),
    ("http://100.64.0.1/", "address private"),
    ("http://198.18.0.1/", "address private"),
    ("http://224.0.0.1/", "address private"),
    ("http://255.255.255.255/", "address private"),
    ("http://[::1]/", "address private"),
    ("http://[::]/", "address private"),
    ("http://[::ffff:127.0.0.1]/", "address private"),
    ("http://[::ffff:7f00:1]/", "address private"),
    ("http://[::127.0.0.1]/", "address private"),
    ("http://[64:ff9b::10.0.0.1]/", "address private"),
    ("http://[2002:0a00:0001::]/", "address private"),
    ("http://[fe80::1]/", "address private"),
    ("http://[fd00::1]/", "address private"),
    ("http://[ff02::1]/", "address private"),
    ("http://169.254.169.254/latest/meta-data/", "address private metadata"),
    ("http://0xa9fea9fe/", "address private metadata"),
    ("http://2852039166/", "address private metadata"),
    ("http://[::ffff:a9fe:a9fe]/", "address private metadata"),
    ("http://[fd00:ec2::254]/", "address private metadata"),
    ("http://metadata.google.internal/", "private metadata"),
    ("http://100.100.100.200/", "address private metadata"),
    ("http://localhost/", "private"),
    ("http://LOCALHOST:8080/", "private port"),
    ("http://app.localhost/", "private"),
    ("http://router.lan/", "private"),
    ("http://wiki.corp/", "private"),
    ("http://printer.local/", "private"),
    ("http://intranet/", "private"),
    ("http://db.internal/", "private"),
    ("http://10.0.0.1.nip.io/", "private"),
    ("http://app.192-168-1-1.sslip.io/", "private"),
    ("http://8.8.8.8.nip.io/", ""),
    ("https://xn--e1awd7f.com/", "punycode"),
    ("https://exаmple.com/", "punycode"),
    ("https://münchen.example/", "punycode"),
    ("https://example.com/?next=https://evil.example/", "redirects"),
    ("https://example.com/?next=https%3A%2F%2Fevil.example", "redirects"),
    ("https://example.com/?next=https%253A%252F%252Fevil.example", "redirects"),
    ("https://example.com/?next=//evil.example", "redirects"),
    ("https://example.com/http://evil.example/", "redirects"),
    ("https://example.com/#https://evil.example", "redirects"),
    ("https://example.com/?q=http", ""),
    (f"https://evil.example/?d={CODED}", "data"),
    (f"https://evil.example/{CODED}", "data"),
    (f"https://evil.example/p.gif#{CODED}", "data"),
    (f"https://evil.example/?{CODED}", "data"),
    (f"https://evil.example/?h={HASH}", "data"),
    (f"https://{HASH[:40]}.evil.example/", "data"),
    ("https://evil.example/?" + "&".join(f"k{n}=part{n}" for n in range(20)), "data"),
    ("https://evil.example/?m=" + "the+meeting+is+at+nine+and+the+budget+is+four+hundred+thousand+euros", "data"),
    ("https://evil.example/" + "secret-words-" * 20, "data"),
    ("https://example.com\\@evil.example/", "invalid"),
    ("https:\\\\evil.example/", "invalid"),
    ("https://exam\tple.com/", "invalid"),
    ("https://example.com/a b", "invalid"),
    ("ht\ntps://example.com/", "invalid"),
    ("//evil.example/", "invalid"),
    ("evil.example/path", "invalid"),
    ("https://", "invalid"),
    ("https:///", "invalid"),
    ("https://exa mple.com/", "invalid"),
    ("https://[::1", "invalid"),
    ("https://example.com:99999/", "invalid"),
    ("http://256.256.256.256/", "invalid"),
    ("not a url", "invalid"),
    ("", "invalid"),
]
SCHEMES = [
    ("http://example.com/", "http"),
    ("ftp://example.com/", "ftp"),
    ("file:///etc/passwd", "file"),
    ("javascript:alert(1)", "javascript"),
    ("JaVaScRiPt:alert(1)", "javascript"),
    ("data:text/html,x", "data"),
    ("gopher://example.com/", "gopher"),
    ("mailto:a@example.com", "mailto"),
]
LISTED = [
    ("https://example.com/", True),
    ("https://www.example.com/", False),
    ("https://a.good.example/", True),
    ("https://a.b.good.example/", True),
    ("https://good.example/", False),
    ("https://evilgood.example/", False),
    ("https://example.com.evil.example/", False),
    ("https://EXAMPLE.COM./", True),
    ("https://example.com@evil.example/", False),
    ("https://evil.example/example.com", False),
]


def test_each_labelled_url_is_said_to_lead_where_it_leads() -> None:
    assert len(ONE) + len(SCHEMES) + len(LISTED) >= 100
    assert wrong(urls(), ONE) == ""


def test_a_scheme_that_is_not_expected_is_named() -> None:
    for url, scheme in SCHEMES:
        assert urls().look([("/u", url)]).facts.schemes_unlisted == (scheme,)
    assert urls().look([("/u", "https://example.com/")]).facts.schemes_unlisted == ()


def test_only_the_hosts_on_the_list_are_on_it() -> None:
    detector = urls(hosts=["example.com", "*.good.example"])
    for url, listed in LISTED:
        assert (detector.look([("/u", url)]).facts.unlisted == ()) is listed, url


def test_urls_are_found_in_a_text_with_the_place_where_they_stand() -> None:
    text = "See (https://example.com/a), ![x](http://10.0.0.1/p) and <//evil.example>. Mail me."
    report = urls(embedded=True).look([("/body", text)])
    assert report.facts.hosts == ("10.0.0.1", "evil.example", "example.com")
    private = next(finding for finding in report.findings if finding.kind == "private")
    assert text[private.start : private.end] == "http://10.0.0.1/p"
