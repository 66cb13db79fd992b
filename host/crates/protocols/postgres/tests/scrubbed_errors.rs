//! Error texts of a real PostgreSQL: no attack gets a masked value out through them, and what helps
//! an honest user stays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod support;

use std::sync::{Arc, Mutex};

use sluicegate_postgres::codec::text::{WITHHELD, scrub};
use support::server::Server;
use tokio_postgres::{
    AsyncMessage, Client, NoTls,
    error::{DbError, ErrorPosition},
};

/// The values that must not be seen: a number, a name, and one that breaks out of quotes.
const SETUP: &str = r#"
    create table people (id int primary key, ssn text unique, name text, tricky text, digits int check (digits > 0));
    insert into people values (1, '123-45-6789', 'Zebedee', 'users" Zebedee "users', 987654);
    create table copies (ssn text unique, constraint no_z check (ssn not like 'Z%'));
    insert into copies select ssn from people;
    create type mood as enum ('happy');
    create domain tiny as text check (length(value) < 3);
    create function tell() returns text language plpgsql as $$
    begin raise exception 'found %', (select name from people) using errcode = '12345', table = (select ssn from people),
        hint = (select ssn from people), detail = (select ssn from people), column = (select name from people); end $$;
    create function dynamic() returns void language plpgsql as $$
    begin execute 'select ' || (select name from people) || ' from nowhere'; end $$;
    create function converted() returns int language sql as $$ select name::int from people $$;
    create extension dblink;
"#;

const SECRETS: [&str; 4] = ["123-45", "6789", "zebe", "987654"];

const ATTACKS: &[&str] = &[
    "select ssn::int from people",
    "select name::int from people",
    "select tricky::int from people",
    "select (chr(34) || 'people' || chr(34) || name || chr(34) || 'people' || chr(34))::int from people",
    "select name::date from people",
    "select name::uuid from people",
    "select name::inet from people",
    "select name::json from people",
    "select ('{\"a\": ' || name || '}')::jsonb from people",
    "select name::mood from people",
    "select name::tiny from people",
    "select name::tsquery from (select name || ' ' || name as name from people) p",
    "select (name || ' ' || name)::jsonpath from people",
    "select name::regclass from people",
    "select ssn::regclass from people",
    "select ('\"people\" ' || name)::regclass from people",
    "select name::regtype from people",
    "select (name || '(' || name)::regtype from people",
    "select name::regrole from people",
    "select name::regproc from people",
    "select name::regoper from people",
    "select (name || '(int,int)')::regoperator from people",
    "select (name || '(int)')::regprocedure from people",
    "select name::regconfig from people",
    "select name::regnamespace from people",
    "select name::regcollation from people",
    "select nextval(name) from people",
    "select current_setting(name) from people",
    "select current_setting('a.' || name) from people",
    "select set_config('work_mem', name, false) from people",
    "select set_config('timezone', name, false) from people",
    "select set_config('client_encoding', name, false) from people",
    "select has_table_privilege(name, 'select') from people",
    "select has_schema_privilege(name, 'usage') from people",
    "select has_database_privilege(name, 'connect') from people",
    "select has_table_privilege('people', name) from people",
    "select date_part(name, now()) from people",
    "select now() at time zone name from people",
    "select to_timestamp(name, 'YYYY') from people",
    "select to_number(name, '999') from people",
    "select make_date(digits, 99, 99) from people",
    "select make_time(12, 99, digits) from people",
    "select chr(digits * 2) from people",
    "select lo_open(digits, 262144) from people",
    "select pg_size_bytes(name) from people",
    "select decode(name, 'hex') from people",
    "select encode('', name) from people",
    "select convert('', name, 'utf8') from people",
    "select convert_from(convert_to(name, 'utf8') || '\\xff', 'utf8') from people",
    "select regexp_replace('a', '(' || name, '') from people",
    "select regexp_matches('a', 'a', name) from people",
    "select format('%' || name, 1) from people",
    "select xpath('//' || name || '[', '<a/>') from people",
    "select ('<' || name)::xml from people",
    "select array[1][name::int] from people",
    "select setseed(digits) from people",
    "select dblink_connect(name) from people",
    "select dblink_get_connections(), dblink_disconnect(name) from people",
    "select * from dblink('host=localhost user=postgres port=' || current_setting('port'), 'select name::int from people') as t(a int)",
    "select dblink_exec('host=localhost user=postgres port=' || current_setting('port'), 'select ' || name) from people",
    "select * from dblink('host=localhost user=postgres port=' || current_setting('port'), 'do $$ begin raise exception ''found %'', (select name from people); end $$') as t(a int)",
    "insert into copies select ssn from people",
    "insert into copies select name from people",
    "insert into people select 1, 'x', name from people",
    "update people set digits = -digits",
    "insert into people (ssn) select ssn from people",
    "create unique index on people ((length(name) * 0)); insert into people values (2, 'q', 'Zebedee')",
    "alter table people add constraint c check (name <> 'Zebedee' || left(ssn, 0))",
    "alter table people alter name type int using name::int",
    "alter table people add foreign key (name) references people (ssn)",
    "do $$ begin raise exception 'found %', (select name from people); end $$",
    "do $$ begin raise exception using errcode = '42601', message = (select name from people); end $$",
    "do $$ begin raise exception using errcode = '42P01', message = 'relation \"' || (select name from people) || '\" does not exist'; end $$",
    "do $$ begin raise exception using errcode = (select left(replace(ssn, '-', ''), 5) from people); end $$",
    "do $$ begin raise 'x' using hint = (select ssn from people), errcode = '42601'; end $$",
    "do $$ begin raise 'x' using table = (select ssn from people), schema = (select name from people), errcode = '23505'; end $$",
    "do $$ begin assert false, (select name from people); end $$",
    "do $$ begin raise notice 'found %', (select name from people); end $$",
    "do $$ begin raise warning using message = (select ssn from people), errcode = '22012'; end $$",
    "do $$ declare n int; begin select name into n from people; end $$",
    "do $$ begin execute (select name from people); end $$",
    "do $$ begin execute 'select * from ' || (select name from people); end $$",
    "do $$ begin perform 1 / 0 from people where name = 'Zebedee'; end $$",
    "do $$ declare r people; begin select * into r from people; r := row(r.name, 1); end $$",
    "select tell()",
    "select dynamic()",
    "select converted()",
    "select query_to_xml('select ' || name, true, true, '') from people",
    "create function pg_temp.f(x people) returns int language sql immutable as $$ select x.name::int $$; select pg_temp.f(p) from people p",
    "select to_regtype(name || '(') from people",
    "select lpad('', digits * 2000) from people",
    "select name collate \"C\" ~ ('[' || name) from people",
    "select name like ('%' || chr(92)) escape name from people",
    "select overlay(name placing 'x' from -digits) from people",
    "select width_bucket(digits, 1, 1, 1) from people",
    "select generate_series(1, 2, digits - digits), name::int from people",
    "select json_populate_record(null::people, json_build_object('id', name)) from people",
    "select * from json_to_recordset(json_build_array(json_build_object('a', name))) as t(a int), people",
];

struct Session {
    client: Client,
    notices: Arc<Mutex<Vec<DbError>>>,
}

async fn connect(server: &Server) -> Session {
    let config = format!("host=localhost port={} user=postgres dbname=postgres", server.port);
    let (client, mut connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&notices);
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message {
                kept.lock().unwrap().push(notice);
            }
        }
    });
    Session { client, notices }
}

/// The fields as they came.
fn fields(error: &DbError) -> Vec<(u8, String)> {
    let mut fields = vec![(b'S', error.severity().to_owned()), (b'V', error.severity().to_owned())];
    fields.push((b'C', error.code().code().to_owned()));
    fields.push((b'M', error.message().to_owned()));
    match error.position() {
        Some(ErrorPosition::Original(at)) => fields.push((b'P', at.to_string())),
        Some(ErrorPosition::Internal { position, query }) => {
            fields.push((b'p', position.to_string()));
            fields.push((b'q', query.clone()));
        }
        None => {}
    }
    let line = error.line().map(|line| line.to_string());
    let others = [
        (b'D', error.detail()),
        (b'H', error.hint()),
        (b'W', error.where_()),
        (b's', error.schema()),
        (b't', error.table()),
        (b'c', error.column()),
        (b'd', error.datatype()),
        (b'n', error.constraint()),
        (b'F', error.file()),
        (b'L', line.as_deref()),
        (b'R', error.routine()),
    ];
    fields.extend(others.into_iter().filter_map(|(kind, value)| Some((kind, value?.to_owned()))));
    fields
}

fn scrubbed(error: &DbError, said: &str) -> Vec<(u8, String)> {
    let fields = fields(error);
    let borrowed: Vec<_> = fields.iter().map(|(kind, value)| (*kind, value.as_bytes())).collect();
    scrub(&borrowed, said).into_iter().map(|(kind, value)| (kind, String::from_utf8(value).unwrap())).collect()
}

/// What a client sees of what a statement reports: its notices, then its error.
async fn shown(session: &Session, sql: &str) -> Vec<(DbError, Vec<(u8, String)>)> {
    let result = session.client.simple_query(sql).await;
    let _ = session.client.simple_query("rollback").await;
    let mut reports = std::mem::take(&mut *session.notices.lock().unwrap());
    reports.retain(|notice| notice.code().code() != "25P01");
    reports.extend(result.err().and_then(|error| error.as_db_error().cloned()));
    reports.into_iter().map(|report| (report.clone(), scrubbed(&report, sql))).collect()
}

#[tokio::test]
async fn no_attack_shows_a_value() {
    let server = Server::start("host all all localhost trust");
    let session = connect(&server).await;
    session.client.batch_execute(SETUP).await.unwrap();
    let mut leaky = 0;
    for sql in ATTACKS {
        let reports = shown(&session, &format!("begin; {sql}")).await;
        for (before, after) in &reports {
            let leaks = |fields: &[(u8, String)]| {
                let text = fields.iter().map(|(_, value)| value.to_lowercase()).collect::<Vec<_>>().join(" ");
                SECRETS.iter().any(|secret| text.contains(secret) && !sql.to_lowercase().contains(secret))
            };
            leaky += usize::from(leaks(&fields(before)));
            assert!(!leaks(after), "{sql}\n{before:?}\n{after:?}");
            println!("{leaky} {sql}\n    {:?}\n    {:?}", before.message(), message(after));
        }
    }
    // The attacks are real: most would have worked.
    assert!(leaky > 50, "{leaky}");
}

fn message(fields: &[(u8, String)]) -> &str {
    fields.iter().find(|(kind, _)| *kind == b'M').map_or("", |(_, value)| value)
}

#[tokio::test]
async fn what_helps_an_honest_user_stays() {
    let server = Server::start("host all all localhost trust");
    let session = connect(&server).await;
    session.client.batch_execute(SETUP).await.unwrap();
    let expected = [
        ("select * form people", "syntax error at or near \"form\""),
        ("select nme from people", "column \"nme\" does not exist"),
        ("select * from Nowhere", "relation \"nowhere\" does not exist"),
        ("select nofunction(1)", "function nofunction(integer) does not exist"),
        ("select 'abc'::int", "invalid input syntax for type integer: \"abc\""),
        ("drop table nowhere", "table \"nowhere\" does not exist"),
        ("drop table if exists nowhere", "table \"nowhere\" does not exist, skipping"),
        ("create table people (a int)", "relation \"people\" already exists"),
        ("execute nothing", "prepared statement \"nothing\" does not exist"),
        (
            "insert into copies values ('123-45-6789')",
            "duplicate key value violates unique constraint \"copies_ssn_key\"",
        ),
        (
            "insert into people (id) values (null)",
            "null value in column \"id\" of relation \"people\" violates not-null constraint",
        ),
        (
            "update people set digits = 0",
            "new row for relation \"people\" violates check constraint \"people_digits_check\"",
        ),
        ("select 1 / (digits - digits) from people", "division by zero"),
        ("begin read only; create table x (a int)", "cannot execute CREATE TABLE in a read-only transaction"),
        ("set statement_timeout = 1; select pg_sleep(1)", "canceling statement due to statement timeout"),
        ("set statement_timeout = 0; select ssn::int from people", "invalid input syntax for type integer: ..."),
        ("select (digits::text || digits)::int from people", "value ... is out of range for type integer"),
        ("select tell()", WITHHELD),
        ("begin; select 1/0; select 1", "division by zero"),
    ];
    for (sql, message_expected) in expected {
        let reports = shown(&session, sql).await;
        let (before, after) = reports.first().unwrap_or_else(|| panic!("{sql} reported nothing"));
        assert_eq!(message(after), message_expected, "{sql}: {before:?}");
        assert!(after.iter().any(|(kind, value)| *kind == b'C' && value.len() == 5), "{sql}");
    }
    let aborted = shown(&session, "begin; select nme from people").await;
    let hint = aborted[0].1.iter().find(|(kind, _)| *kind == b'H');
    assert!(hint.is_some_and(|(_, text)| text.contains("people.name")), "{aborted:?}");
}
