//! The types whose identifiers are fixed: `src/include/catalog/pg_type.dat` of PostgreSQL. A type
//! made by a user or an extension has another identifier in every database and is `Other`.

/// What a type is, as far as values are read and masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text without a limit: `text`, `unknown`, `refcursor`, `cstring`.
    Text,
    /// `varchar`.
    VarChar,
    /// `char(n)`.
    BpChar,
    /// `name`: at most 63 bytes.
    Name,
    /// `"char"`: one byte.
    Char,
    /// `json`.
    Json,
    /// `jsonb`.
    Jsonb,
    /// `jsonpath`.
    JsonPath,
    /// `xml`.
    Xml,
    /// `int2`.
    Int2,
    /// `int4`.
    Int4,
    /// `int8`.
    Int8,
    /// `xid8`: unsigned, 64 bits.
    Xid8,
    /// `oid`, `xid`, `cid`: unsigned, 32 bits.
    Oid,
    /// `regclass` and its like: an oid in binary, a name in text.
    Reg,
    /// `float4`.
    Float4,
    /// `float8`.
    Float8,
    /// `numeric`.
    Numeric,
    /// `money`.
    Money,
    /// `bool`.
    Bool,
    /// `uuid`.
    Uuid,
    /// `bytea`.
    Bytea,
    /// `date`.
    Date,
    /// `time`.
    Time,
    /// `timetz`.
    TimeTz,
    /// `timestamp`.
    Timestamp,
    /// `timestamptz`.
    TimestampTz,
    /// `interval`.
    Interval,
    /// `inet`.
    Inet,
    /// `cidr`.
    Cidr,
    /// `macaddr`.
    MacAddr,
    /// `macaddr8`.
    MacAddr8,
    /// `bit(n)`.
    Bit,
    /// `varbit`.
    VarBit,
    /// `tsvector`.
    TsVector,
    /// `tsquery`.
    TsQuery,
    /// `pg_lsn`.
    PgLsn,
    /// An array; the element's oid.
    Array(u32),
    /// Anything else.
    Other,
}

impl Kind {
    /// The kind of the type with this oid.
    pub fn of(oid: u32) -> Self {
        match element_of(oid) {
            Some(element) => Self::Array(element),
            None => Self::scalar(oid),
        }
    }

    /// Like [`Kind::of`], but an array is `Other`.
    pub(crate) fn scalar(oid: u32) -> Self {
        match oid {
            25 | 705 | 1790 | 2275 => Self::Text,
            1043 => Self::VarChar,
            1042 => Self::BpChar,
            19 => Self::Name,
            18 => Self::Char,
            114 => Self::Json,
            3802 => Self::Jsonb,
            4072 => Self::JsonPath,
            142 => Self::Xml,
            21 => Self::Int2,
            23 => Self::Int4,
            20 => Self::Int8,
            5069 => Self::Xid8,
            26 | 28 | 29 => Self::Oid,
            24 | 2202 | 2203 | 2204 | 2205 | 2206 | 3734 | 3769 | 4089 | 4096 | 4191 => Self::Reg,
            700 => Self::Float4,
            701 => Self::Float8,
            1700 => Self::Numeric,
            790 => Self::Money,
            16 => Self::Bool,
            2950 => Self::Uuid,
            17 => Self::Bytea,
            1082 => Self::Date,
            1083 => Self::Time,
            1266 => Self::TimeTz,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            869 => Self::Inet,
            650 => Self::Cidr,
            829 => Self::MacAddr,
            774 => Self::MacAddr8,
            1560 => Self::Bit,
            1562 => Self::VarBit,
            3614 => Self::TsVector,
            3615 => Self::TsQuery,
            3220 => Self::PgLsn,
            _ => Self::Other,
        }
    }

    /// Whether a value is characters that may be replaced by any others.
    pub fn is_text_like(self) -> bool {
        matches!(self, Self::Text | Self::VarChar | Self::BpChar | Self::Name)
    }
}

/// The element's oid where `oid` is an array's.
fn element_of(oid: u32) -> Option<u32> {
    Some(match oid {
        143 => 142,
        199 => 114,
        271 => 5069,
        651 => 650,
        775 => 774,
        791 => 790,
        1000 => 16,
        1001 => 17,
        1002 => 18,
        1003 => 19,
        1005 => 21,
        1007 => 23,
        1008 => 24,
        1009 => 25,
        1011 => 28,
        1012 => 29,
        1014 => 1042,
        1015 => 1043,
        1016 => 20,
        1021 => 700,
        1022 => 701,
        1028 => 26,
        1040 => 829,
        1041 => 869,
        1115 => 1114,
        1182 => 1082,
        1183 => 1083,
        1185 => 1184,
        1187 => 1186,
        1231 => 1700,
        1263 => 2275,
        1270 => 1266,
        1561 => 1560,
        1563 => 1562,
        2201 => 1790,
        2207 => 2202,
        2208 => 2203,
        2209 => 2204,
        2210 => 2205,
        2211 => 2206,
        2951 => 2950,
        3221 => 3220,
        3643 => 3614,
        3645 => 3615,
        3735 => 3734,
        3770 => 3769,
        3807 => 3802,
        4073 => 4072,
        4090 => 4089,
        4097 => 4096,
        4192 => 4191,
        _ => return None,
    })
}
