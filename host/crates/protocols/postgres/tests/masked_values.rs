//! Masked values against a real PostgreSQL: for every type it knows, and in both formats, the
//! server takes back what a mask leaves, and a rendered value is what the server would have written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use bytes::{BufMut, BytesMut};
use sluicegate_core::{DateUnit, Mask};
use sluicegate_postgres::codec::{
    mask::{self, HashKey, MaskedField},
    value::{self, FieldType, Format, Kind, Rendered},
};
use support::server::Server;
use tokio_postgres::{
    Client, NoTls, SimpleQueryMessage,
    types::{FromSql, IsNull, ToSql, Type},
};

/// Types with values of them; `|` stands between the values.
const SAMPLES: &[(&str, &str)] = &[
    ("text", "alice@example.com|4111111111111111|äöüß€𝄞 long enough||a"),
    ("varchar", "some text|x@y.org"),
    ("varchar(5)", "abcde|ab|a@b.c"),
    ("varchar(8)", "a@xy.com|ÄÖÜäöü12"),
    ("char(12)", "abcdefgh|x@ab.io"),
    ("char(3)", "abc|a"),
    ("name", "some_name|a@bcd.example"),
    ("\"char\"", "x"),
    ("json", "{\"a\": [1, 2]}|null"),
    ("jsonb", "{\"a\": [1, 2]}|\"x\""),
    ("jsonpath", "$.a"),
    ("xml", "<a>b</a>"),
    ("int2", "0|-1|32767|-32768|1234"),
    ("int4", "0|-1|2147483647|-2147483648|1234"),
    ("int8", "0|-1|9223372036854775807|-9223372036854775808|1234"),
    ("oid", "4294967295"),
    ("xid8", "18446744073709551615"),
    ("regclass", "pg_class"),
    ("regtype", "integer"),
    ("float4", "0|-1.5|3.4e38|-3.4e38|1e-10|123456|1234567|0.0001|0.00001|Infinity|NaN|16777216"),
    ("float8", "0|-0|-1.5|1.7e308|-1.7e308|1e-300|123456789012345|1234567890123456|0.0001|1e-5|-Infinity|NaN|0.1"),
    (
        "numeric",
        "0|-1.50|12345.678|1e20|1e-20|-0.0001|NaN|Infinity|-Infinity|99999999|10000|100000000.00000001|1e131071",
    ),
    ("numeric(5,2)", "999.99|-999.99|0.01|-0.01"),
    ("numeric(2,5)", "0.00012|-0.00012"),
    ("numeric(2,-3)", "12000|-12000"),
    ("money", "12.50"),
    ("bool", "true|false"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bytea", "\\x00ff10|\\x"),
    ("date", "2024-02-29|0044-03-15 BC|4714-11-24 BC|5874897-12-31|infinity|-infinity|10000-01-01|1999-12-31"),
    ("time", "00:00|23:59:59.999999|24:00|12:34:56.5"),
    ("time(0)", "12:34:56"),
    ("timetz", "12:34:56+02"),
    (
        "timestamp",
        "2024-02-29 12:34:56.789|0044-03-15 01:02:03 BC|4714-11-24 00:00 BC|294276-12-31 23:59:59|infinity|1999-12-31 23:00",
    ),
    ("timestamp(3)", "2024-02-29 12:34:56.789"),
    ("timestamptz", "2024-02-29 12:34:56.789+02|0044-03-15 01:02:03 BC|-infinity|20000-01-01 00:00:00+00"),
    ("interval", "1 year 2 mons 3 days 04:05:06.7"),
    ("inet", "192.168.0.1|10.0.0.0/8|::1|2001:db8::/32|fe80::1:2"),
    ("cidr", "10.0.0.0/8|192.168.0.1/32|2001:db8::/32"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("macaddr8", "08:00:2b:01:02:03:04:05"),
    ("bit(10)", "1010101010"),
    ("varbit(10)", "10101"),
    ("tsvector", "fat cat"),
    ("tsquery", "fat & cat"),
    ("pg_lsn", "16/B374D848"),
    ("point", "(1,2)"),
    ("int4range", "[1,5)"),
    ("mood", "happy"),
    ("pair", "(1,secret)"),
    ("short_name", "abcdefgh"),
    ("int2[]", "{1,2,NULL}"),
    ("int4[]", "{1,2}|{}|{{1,2},{3,4}}"),
    ("int8[]", "{1}"),
    ("text[]", "{a,b}"),
    ("varchar(4)[]", "{abcd}"),
    ("numeric[]", "{1.50,2}"),
    ("uuid[]", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
    ("bool[]", "{t,f}"),
    ("date[]", "{2024-02-29}"),
    ("jsonb[]", "{1}"),
    ("bytea[]", "{\"\\\\x00ff\"}"),
    ("inet[]", "{10.0.0.1}"),
    ("timestamptz[]", "{}"),
    ("mood[]", "{happy}"),
];

fn masks() -> Vec<Mask> {
    let powers = [0, 1, 3, 30, 400, u32::MAX].map(Mask::Round);
    let units = [DateUnit::Year, DateUnit::Month, DateUnit::Day, DateUnit::Hour].map(Mask::TruncateDate);
    let texts = ["", "x", "ein längerer Ersatz, der nicht überall hineinpasst und mehr als 63 Bytes hat €€€"];
    let mut masks = vec![Mask::Redact, Mask::Null, Mask::Hash, Mask::Email];
    masks.extend([0, 1, 4, u32::MAX].map(Mask::Partial));
    masks.extend(powers.into_iter().chain(units));
    masks.extend(texts.map(|text| Mask::Replace(text.to_owned())));
    masks
}

/// A value's bytes, to and from the server as they are.
#[derive(Debug)]
struct Raw(Vec<u8>, Format);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec(), Format::Binary))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> tokio_postgres::types::Format {
        match self.1 {
            Format::Text => tokio_postgres::types::Format::Text,
            Format::Binary => tokio_postgres::types::Format::Binary,
        }
    }

    tokio_postgres::types::to_sql_checked!();
}

async fn connect(server: &Server) -> Client {
    let config = format!("host=localhost port={} user=postgres dbname=postgres", server.port);
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    tokio::spawn(connection);
    let setup = "set timezone = 'UTC'; set datestyle = 'ISO, MDY'; set extra_float_digits = 1; \
        create type mood as enum ('happy', 'sad'); create type pair as (a int, b text); \
        create domain short_name as varchar(8)";
    client.batch_execute(setup).await.unwrap();
    client
}

/// A column of a type, holding the samples, and the type as a RowDescription has it.
async fn column(client: &Client, name: &str, samples: &str) -> FieldType {
    client
        .batch_execute(&format!("create temp table s (n int, v {name}); create temp table r (v {name})"))
        .await
        .unwrap();
    for (n, sample) in samples.split('|').enumerate() {
        let literal = sample.replace('\'', "''");
        client.batch_execute(&format!("insert into s values ({n}, '{literal}')")).await.unwrap();
    }
    let statement = client.prepare("select v from s").await.unwrap();
    let described = &statement.columns()[0];
    FieldType { oid: described.type_().oid(), typmod: described.type_modifier() }
}

async fn texts(client: &Client) -> Vec<Vec<u8>> {
    let messages = client.simple_query("select v from s order by n").await.unwrap();
    let row = |m: &SimpleQueryMessage| match m {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap().as_bytes().to_vec()),
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

async fn binaries(client: &Client) -> Vec<Vec<u8>> {
    let rows = client.query("select v from s order by n", &[]).await.unwrap();
    rows.iter().map(|row| row.get::<_, Raw>(0).0).collect()
}

/// What the server makes of a value in a column of the type, without any cast that would mend it.
async fn accepted(client: &Client, value: Raw, about: &str) -> String {
    let insert = client.prepare("insert into r values ($1) returning v::text").await.unwrap();
    match client.query_one(&insert, &[&value]).await {
        Ok(row) => row.get(0),
        Err(error) => panic!("{about}: {value:?}: {error:?}"),
    }
}

#[tokio::test]
async fn the_server_takes_back_every_masked_value() {
    let server = Server::start("host all all localhost trust");
    let client = connect(&server).await;
    let key = HashKey::new([7; 32]);
    for (name, samples) in SAMPLES {
        let ty = column(&client, name, samples).await;
        for (text, binary) in texts(&client).await.iter().zip(&binaries(&client).await) {
            for mask in masks() {
                let about = format!("{name} {:?} {mask:?}", String::from_utf8_lossy(text));
                let masked = |value: &[u8], format| {
                    let mut out = Vec::new();
                    match mask::apply(&mask, Some(value), ty, format, &key, &mut out) {
                        MaskedField::Null => {
                            assert!(out.is_empty(), "{about}");
                            None
                        }
                        MaskedField::Bytes => Some(Raw(out, format)),
                    }
                };
                match (masked(text, Format::Text), masked(binary, Format::Binary)) {
                    (None, None) => {
                        let expected = mask == Mask::Null || ty.kind() == Kind::Other;
                        assert!(expected, "{about} became NULL");
                    }
                    (Some(a), Some(b)) => {
                        let a = accepted(&client, a, &about).await;
                        let b = accepted(&client, b, &about).await;
                        assert_eq!(a, b, "{about}: the formats disagree");
                    }
                    one => panic!("{about}: only one format became NULL: {one:?}"),
                }
            }
        }
        client.batch_execute("drop table s, r").await.unwrap();
    }
}

#[tokio::test]
async fn a_rendered_value_is_what_the_server_writes() {
    let server = Server::start("host all all localhost trust");
    let client = connect(&server).await;
    for (name, samples) in SAMPLES {
        let ty = column(&client, name, samples).await;
        for (text, binary) in texts(&client).await.iter().zip(&binaries(&client).await) {
            let mut rendered = Vec::new();
            let kind = value::render(binary, ty, Format::Binary, &mut rendered);
            let is_nested = matches!(ty.kind(), Kind::Array(_)) && (text.contains(&b'"') || text.starts_with(b"{{"));
            // A regclass is a name in text and a number in binary.
            if kind == Rendered::Text && !is_nested && ty.kind() != Kind::Reg {
                let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                assert_eq!(shown(&rendered), shown(text), "{name}");
            }
            if kind == Rendered::Raw {
                assert_eq!(&rendered, binary, "{name}");
                let mut from_text = Vec::new();
                value::render(text, ty, Format::Text, &mut from_text);
                assert!(ty.kind() != Kind::Bytea || from_text == *binary, "{name}");
            }
        }
        client.batch_execute("drop table s, r").await.unwrap();
    }
}

#[tokio::test]
async fn equal_values_hash_alike() {
    let server = Server::start("host all all localhost trust");
    let client = connect(&server).await;
    let key = HashKey::new([7; 32]);
    let mut hashes = Vec::new();
    for (name, samples) in [("numeric", "42|42.00|042.0"), ("char(6)", "ab|ab  "), ("bytea", "\\x6162|ab")] {
        let ty = column(&client, name, samples).await;
        let mut distinct: Vec<Vec<u8>> = Vec::new();
        for value in texts(&client).await {
            let mut out = Vec::new();
            mask::apply(&Mask::Hash, Some(&value), ty, Format::Text, &key, &mut out);
            distinct.push(out);
        }
        distinct.dedup();
        assert_eq!(distinct.len(), 1, "{name}");
        hashes.push(distinct);
        client.batch_execute("drop table s, r").await.unwrap();
    }
}

#[tokio::test]
async fn the_oids_are_those_of_the_catalog() {
    let server = Server::start("host all all localhost trust");
    let client = connect(&server).await;
    let catalog = "select oid, typname::text, typelem, typcategory = 'A' and typsubscript::text = 'array_subscript_handler' \
        from pg_type where oid < 16384";
    let mut known = 0;
    for row in client.query(catalog, &[]).await.unwrap() {
        let (oid, name, element, is_array): (u32, String, u32, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let expected: &[&str] = match Kind::of(oid) {
            Kind::Other => continue,
            Kind::Array(of) => {
                assert!(is_array && of == element, "{name}");
                known += 1;
                continue;
            }
            Kind::Text => &["text", "unknown", "refcursor", "cstring"],
            Kind::Oid => &["oid", "xid", "cid"],
            Kind::Reg if name.starts_with("reg") => continue,
            Kind::PgLsn => &["pg_lsn"],
            kind => &[&format!("{kind:?}").to_lowercase()],
        };
        assert!(expected.contains(&name.as_str()), "{oid} is {name}");
        known += 1;
    }
    assert!(known > 75, "{known}");
}
