//! What each detector finds, what it leaves alone, and that no input makes it slow.

use std::time::{Duration, Instant};

use pii_mask::{Kind, Scanner};

const ALL: [Kind; 8] =
    [Kind::Card, Kind::Email, Kind::Iban, Kind::Ssn, Kind::Phone, Kind::Jwt, Kind::AwsKey, Kind::PrivateKey];

fn found(kind: Kind, text: &str) -> Vec<&str> {
    let mut spans = Vec::new();
    Scanner::new(&[kind]).scan(text.as_bytes(), &mut spans);
    spans.iter().map(|span| &text[span.start..span.end]).collect()
}

#[track_caller]
fn finds(kind: Kind, cases: &[(&str, &[&str])]) {
    for (text, items) in cases {
        assert_eq!(found(kind, text), *items, "in {text:?}");
    }
}

#[test]
fn cards() {
    finds(
        Kind::Card,
        &[
            ("4111111111111111", &["4111111111111111"]),
            ("4111 1111 1111 1111 123", &["4111 1111 1111 1111"]),
            ("no 1: 5500-0000-0000-0004;", &["5500-0000-0000-0004"]),
            ("378282246310005 and 6011000990139424", &["378282246310005", "6011000990139424"]),
            ("1 4111111111111111", &["4111111111111111"]),
            ("4111\u{a0}1111 - 1111_1111", &["4111\u{a0}1111 - 1111_1111"]),
            ("4111111111111111.00", &["4111111111111111"]),
            ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", &["4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"]),
            ("2221000000000009", &["2221000000000009"]),
            // A wrong Luhn digit, no issuer, a part of a longer number, a fraction, too short.
            ("4111111111111112", &[]),
            ("1234567812345670", &[]),
            ("94111111111111111112345", &[]),
            ("0.4111111111111111", &[]),
            ("411111111111", &[]),
        ],
    );
}

#[test]
fn emails() {
    finds(
        Kind::Email,
        &[
            ("ann@example.com", &["ann@example.com"]),
            ("<Ann.O'Hara+x@mail.example.co.uk>, b@c.de.", &["Ann.O'Hara+x@mail.example.co.uk", "b@c.de"]),
            ("müller@bücher.example", &["müller@bücher.example"]),
            ("a@b@c.de", &["b@c.de"]),
            ("@example.com a@localhost a@1.2.3.4 a@b.c x@ @", &[]),
        ],
    );
}

#[test]
fn ibans() {
    finds(
        Kind::Iban,
        &[
            ("DE89370400440532013000", &["DE89370400440532013000"]),
            ("to GB29 NWBK 6016 1331 9268 19, please", &["GB29 NWBK 6016 1331 9268 19"]),
            ("no9386011117947", &["no9386011117947"]),
            ("NL91-ABNA-0417-1643-00", &["NL91-ABNA-0417-1643-00"]),
            ("DE89370400440532013001 XX89370400440532013000", &[]),
            ("ADE89370400440532013000 DE893704004405320130001", &[]),
            ("DE89  370400440532013000", &[]),
        ],
    );
}

#[test]
fn social_security_numbers() {
    finds(
        Kind::Ssn,
        &[
            ("123-45-6789", &["123-45-6789"]),
            ("ssn:123 45 6789.", &["123 45 6789"]),
            ("000-12-3456 666-12-3456 912-12-3456 123-00-4567 123-45-0000", &[]),
            ("123-45 6789 1123-45-6789 123-45-67890 2024-01-02 123456789", &[]),
        ],
    );
}

#[test]
fn phones() {
    finds(
        Kind::Phone,
        &[
            ("+14155550123", &["+14155550123"]),
            ("tel:+44 (20) 7946-0958!", &["+44 (20) 7946-0958"]),
            ("(212) 555-0123 212.555.0123 212-555-0123", &["(212) 555-0123", "212.555.0123", "212-555-0123"]),
            ("1-212-555-0123", &["212-555-0123"]),
            ("+1234567 +1234567890123456 a+12345678 +00000000", &[]),
            ("2125550123 112-555-0123 212-155-0123 2024-01-02 10.0.0.1", &[]),
        ],
    );
}

#[test]
fn secrets() {
    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl";
    finds(
        Kind::Jwt,
        &[
            (TOKEN, &[TOKEN]),
            (&format!("token={TOKEN}; x"), &[TOKEN]),
            ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0.", &["eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0."]),
            ("eyJhbGciOiJIUzI1NiJ9 eyJ.eyJ.x Jay", &[]),
        ],
    );
    finds(
        Kind::AwsKey,
        &[
            ("id AKIAIOSFODNN7EXAMPLE", &["AKIAIOSFODNN7EXAMPLE"]),
            ("ASIAIOSFODNN7EXAMPLE/x", &["ASIAIOSFODNN7EXAMPLE"]),
            ("XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLEX AKIA", &[]),
        ],
    );
    const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----";
    const CUT: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQ";
    finds(
        Kind::PrivateKey,
        &[
            (&format!("key:\n{KEY}\nafter"), &[KEY]),
            (CUT, &[CUT]),
            ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", &[]),
        ],
    );
}

#[test]
fn items_that_overlap_are_one() {
    let text = "+4111 1111 1111 1111 x";
    let mut spans = Vec::new();
    Scanner::new(&[Kind::Card, Kind::Phone, Kind::Email]).scan(text.as_bytes(), &mut spans);
    assert_eq!(spans.len(), 1);
    assert_eq!(&text[spans[0].start..spans[0].end], "4111 1111 1111 1111");

    let text = "-----BEGIN PRIVATE KEY-----\nann@example.com 4111111111111111\n";
    Scanner::new(&[Kind::Email, Kind::Card, Kind::PrivateKey]).scan(text.as_bytes(), &mut spans);
    assert_eq!(
        spans.iter().map(|span| (span.start, span.end, span.kind)).collect::<Vec<_>>(),
        [(0, text.len(), Kind::PrivateKey)]
    );
}

/// Inputs that make a careless scanner look at the same bytes again and again. A quadratic pass over
/// a megabyte takes minutes; the bound leaves room for a slow machine.
#[test]
fn time_is_linear() {
    let scanner = Scanner::new(&ALL);
    let mut spans = Vec::new();
    for pattern in
        ["4", "4 ", "@", "a@", "a@a.", "eyJ", "eyJaaaaaaa.", "AKIA", "-----BEGIN ", "DE89", "+1-", "212-555-"]
    {
        let text = pattern.repeat((1 << 20) / pattern.len());
        let started = Instant::now();
        scanner.scan(text.as_bytes(), &mut spans);
        assert!(started.elapsed() < Duration::from_secs(5), "{pattern:?} took {:?}", started.elapsed());
    }
}

#[test]
fn bytes_that_are_no_text_are_scanned_too() {
    let mut spans = Vec::new();
    Scanner::new(&ALL).scan(b"\xff\xfe4111111111111111\x80", &mut spans);
    assert_eq!(spans.len(), 1);
}
