//! The SQLSTATEs of the manual's appendix A, "PostgreSQL Error Codes". RAISE can set any five
//! characters, a piece of a value among them, so only these are passed on.

/// Each class with the last three characters of its codes.
const CODES: &[(&[u8; 2], &str)] = &[
    (b"00", "000"),
    (b"01", "000 003 004 006 007 008 00C P01"),
    (b"02", "000 001"),
    (b"03", "000"),
    (b"08", "000 001 003 004 006 007 P01"),
    (b"09", "000"),
    (b"0A", "000"),
    (b"0B", "000"),
    (b"0F", "000 001"),
    (b"0L", "000 P01"),
    (b"0P", "000"),
    (b"0Z", "000 002"),
    (b"20", "000"),
    (b"21", "000"),
    (
        b"22",
        "000 001 002 003 004 005 007 008 009 00B 00C 00D 00F 00G 00H 00L 00M 00N 00S 00T 010 011 012 013 014 \
         015 016 018 019 01B 01E 01F 01G 01W 01X 021 022 023 024 025 026 027 02E 02G 02H 030 031 032 033 034 \
         035 036 037 038 039 03A 03B 03C 03D 03E 03F 03G P01 P02 P03 P04 P05 P06",
    ),
    (b"23", "000 001 502 503 505 514 P01"),
    (b"24", "000"),
    (b"25", "000 001 002 003 004 005 006 007 008 P01 P02 P03 P04"),
    (b"26", "000"),
    (b"27", "000"),
    (b"28", "000 P01"),
    (b"2B", "000 P01"),
    (b"2D", "000"),
    (b"2F", "000 002 003 004 005"),
    (b"34", "000"),
    (b"38", "000 001 002 003 004"),
    (b"39", "000 001 004 P01 P02 P03"),
    (b"3B", "000 001"),
    (b"3D", "000"),
    (b"3F", "000"),
    (b"40", "000 001 002 003 P01"),
    (
        b"42",
        "000 501 601 602 611 622 701 702 703 704 710 712 723 725 803 804 809 830 846 883 8C9 939 P01 P02 P03 \
         P04 P05 P06 P07 P08 P09 P10 P11 P12 P13 P14 P15 P16 P17 P18 P19 P20 P21 P22",
    ),
    (b"44", "000"),
    (b"53", "000 100 200 300 400"),
    (b"54", "000 001 011 023"),
    (b"55", "000 006 P02 P03 P04"),
    (b"57", "000 014 P01 P02 P03 P04 P05"),
    (b"58", "000 030 P01 P02 P03"),
    (b"72", "000"),
    (b"F0", "000 001"),
    (
        b"HV",
        "000 001 002 004 005 006 007 008 009 00A 00B 00C 00D 00J 00K 00L 00M 00N 00P 00Q 00R 010 014 021 024 \
         090 091",
    ),
    (b"P0", "000 001 002 003 004"),
    (b"XX", "000 001 002"),
];

/// Whether the manual has this code.
pub(super) fn is_standard(code: &[u8]) -> bool {
    let Some((class, rest)) = code.split_first_chunk::<2>() else { return false };
    let is_listed = |codes: &str| codes.split(' ').any(|listed| listed.as_bytes() == rest);
    CODES.iter().any(|(listed, codes)| *listed == class && is_listed(codes))
}
