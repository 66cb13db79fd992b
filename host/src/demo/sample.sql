CREATE TABLE customers (
    id integer PRIMARY KEY,
    name text NOT NULL,
    email text NOT NULL,
    ssn text NOT NULL,
    phone text NOT NULL,
    card text NOT NULL,
    notes text NOT NULL
);

INSERT INTO customers VALUES
    (1, 'Ada Osei', 'ada.osei@example.com', '519-08-4412', '+1 202 555 0143', '4111 1111 1111 1111', 'Prefers e-mail'),
    (2, 'Bruno Keller', 'bruno@keller.example', '231-77-9054', '+1 202 555 0117', '5500 0000 0000 0004', 'Paid with 4012888888881881 by phone'),
    (3, 'Chiara Lombardi', 'chiara.l@example.org', '608-32-7719', '+1 202 555 0182', '3400 0000 0000 009', 'Invoice copy to office@lombardi.example'),
    (4, 'Dmitri Volkov', 'd.volkov@example.net', '447-15-3386', '+1 202 555 0129', '6011 0000 0000 0004', 'Moved in March'),
    (5, 'Esi Mensah', 'esi@mensah.example', '392-60-5148', '+1 202 555 0176', '3530 1113 3330 0000', 'Refund to 5105105105105100, see ticket 88'),
    (6, 'Farid Nasser', 'farid.n@example.com', '785-24-6601', '+1 202 555 0150', '4222 2222 2222 2', 'Call after six');

CREATE TABLE orders (
    id integer PRIMARY KEY,
    customer_id integer NOT NULL REFERENCES customers,
    item text NOT NULL,
    amount numeric(10, 2) NOT NULL,
    ordered_on date NOT NULL
);

INSERT INTO orders
    SELECT n, 1 + n % 6, (ARRAY['lamp', 'chair', 'desk', 'shelf', 'rug'])[1 + n % 5], 20 + n % 90 + 0.95, date '2026-01-01' + n % 200
    FROM generate_series(1, 200) AS n;

CREATE VIEW customer_overview AS
    SELECT c.name, c.ssn AS tax_number, count(o.id) AS orders, sum(o.amount) AS total
    FROM customers c JOIN orders o ON o.customer_id = c.id
    GROUP BY c.name, c.ssn;

CREATE ROLE shop_app LOGIN PASSWORD '@PASSWORD@';
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop_app;
ALTER SCHEMA public OWNER TO shop_app;
ALTER TABLE customers OWNER TO shop_app;
ALTER TABLE orders OWNER TO shop_app;
ALTER VIEW customer_overview OWNER TO shop_app;
ANALYZE;
