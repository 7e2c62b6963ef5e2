//! Conditions, and what they say of frames.

use super::*;

const CARDS: &[&str] = &[
    "EXPTIME =                 30.0 / seconds",
    "GAIN    =                    2",
    "FILTER  = 'R       '",
    "OBJECT  = 'M31 core'",
    "RUN     = '0012    '",
    "DATE-OBS= '2024-05-01T23:10:00'",
    "GOOD    =                    T",
    "BAD     =                    F",
    "UNDEF   =",
    "MEAN    =                  7.5",
    "SERIAL  =  9007199254740993",
    "SERIAL  =                    1 / the first one counts",
    "BLANKS  = '        '",
    "COMMENT not a value",
    "HIERARCH ESO DET ID = 'CCD 1' / chip",
    "HIERARCH A.B C = 5",
    "QUOTE   = 'O''Hara'",
];

fn cards() -> Cards {
    let text: String = CARDS.iter().map(|line| format!("{line:<80}")).collect();
    Cards::from_bytes(text.into_bytes())
}

fn measured() -> Measured {
    Measured {
        mean: Some(400.0),
        median: Some(390.5),
        std: None,
        min: Some(-3.0),
        max: Some(65535.0),
        sum: None,
        nan: Some(0),
    }
}

fn holds(text: &str) -> bool {
    let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    filter.accepts(&cards(), &measured())
}

#[track_caller]
fn all_hold(texts: &[&str]) {
    for text in texts {
        assert!(holds(text), "should hold: {text}");
        assert!(
            !holds(&format!("not ({text})")),
            "should not hold: not {text}"
        );
    }
}

#[track_caller]
fn none_holds(texts: &[&str]) {
    for text in texts {
        assert!(!holds(text), "should not hold: {text}");
    }
}

#[test]
fn numbers_are_compared_as_numbers() {
    all_hold(&[
        "EXPTIME >= 30",
        "EXPTIME==30",
        "EXPTIME = 3D1",
        "exptime < 30.5 and EXPTIME > -1e3",
        "30 <= EXPTIME",
        "GAIN != 3",
        "GAIN <> 3",
        "GAIN < EXPTIME",
        "SERIAL == 9007199254740993",
        "SERIAL != 9007199254740992",
    ]);
    none_holds(&[
        "EXPTIME > 30",
        "GAIN == 2.5",
        "EXPTIME < 30",
        "GAIN > EXPTIME",
    ]);
}

#[test]
fn strings_are_compared_by_character_without_trailing_blanks() {
    all_hold(&[
        "FILTER == 'R'",
        "FILTER == \"R   \"",
        "FILTER != 'r'",
        "FILTER > 'B' and FILTER < 'V'",
        "BLANKS == ''",
        "QUOTE == 'O''Hara'",
        "QUOTE == \"O'Hara\"",
        "DATE-OBS >= '2024-05-01' and DATE-OBS < '2024-05-02'",
        "ESO.DET.ID == 'CCD 1'",
        "`ESO DET ID` == 'CCD 1'",
        "`HIERARCH eso det id` == 'CCD 1'",
        "`A.B C` == 5",
    ]);
    none_holds(&["FILTER == 'r'", "FILTER == ' R'", "`ESO.DET.ID` == 'CCD 1'"]);
}

#[test]
fn a_number_equals_a_string_only_if_the_card_reads_as_one() {
    all_hold(&[
        "RUN == 12",
        "RUN < 13.5",
        "RUN == '0012'",
        "RUN != '12'",
        "FILTER != 5",
    ]);
    none_holds(&[
        "GAIN == '2'",
        "FILTER == 5",
        "FILTER < 5",
        "FILTER >= 5",
        "GOOD == 1",
    ]);
    none_holds(&["GAIN < '3'", "GAIN > '1'", "GOOD == 'T'"]);
}

#[test]
fn logicals_are_equal_or_not() {
    all_hold(&[
        "GOOD == T",
        "BAD = F",
        "GOOD != F",
        "GOOD == true",
        "GOOD != BAD",
    ]);
    none_holds(&["GOOD == F", "GOOD < F", "BAD < T"]);
}

#[test]
fn a_keyword_alone_asks_whether_it_is_there_and_not_false() {
    all_hold(&[
        "GOOD",
        "filter",
        "UNDEF",
        "COMMENT",
        "ESO.DET.ID",
        "GAIN and !BAD",
    ]);
    none_holds(&["BAD", "MISSING", "not FILTER", "not MISSING and BAD"]);
    all_hold(&["not MISSING", "!MISSING && !BAD", "not not GOOD"]);
}

#[test]
fn a_comparison_with_what_is_missing_is_false() {
    for sign in ["==", "=", "!=", "<>", "<", "<=", ">", ">="] {
        for missing in ["MISSING", "UNDEF", "std", "COMMENT"] {
            none_holds(&[
                &format!("{missing} {sign} 1"),
                &format!("'x' {sign} {missing}"),
                &format!("{missing} {sign} GAIN"),
            ]);
        }
    }
    none_holds(&["MISSING ~ '*'", "UNDEF ~ '*'", "GAIN ~ '*'"]);
    all_hold(&["not MISSING == 1", "not std > 0"]);
}

#[test]
fn patterns_are_those_of_a_shell() {
    all_hold(&[
        "OBJECT ~ 'M3*'",
        "OBJECT~'M[0-9]? core'",
        "BLANKS ~ ''",
        "RUN ~ '00*'",
    ]);
    none_holds(&["OBJECT ~ 'm3*'", "OBJECT ~ 'M3'", "OBJECT ~ '*flat*'"]);
}

#[test]
fn lower_case_names_are_measured_and_upper_case_ones_are_cards() {
    all_hold(&["mean == 400", "MEAN == 7.5", "Mean == 7.5", "`mean` == 7.5"]);
    all_hold(&[
        "nan == 0",
        "median < mean",
        "max > 6e4 and min < 0",
        "mean > EXPTIME",
    ]);
    let needs = |text: &str| Filter::parse(text).unwrap().needs();
    assert!(needs("MEAN > 3 and FILTER == 'mean'").is_empty());
    let needs = needs("nan == 0 or not (3 < median)");
    let wanted = [Measure::Nan, Measure::Median].map(|measure| needs.has(measure));
    assert_eq!(wanted, [true; 2]);
    let unwanted = [Measure::Mean, Measure::Std, Measure::Min, Measure::Max];
    assert!(!unwanted.iter().any(|&measure| needs.has(measure)));
}

#[test]
fn cards_decide_alone_where_they_can() {
    let decides = |text: &str| Filter::parse(text).unwrap().decides(&cards());
    assert_eq!(decides("FILTER == 'V' and mean < 500"), Some(false));
    assert_eq!(decides("FILTER == 'R' or mean < 500"), Some(true));
    assert_eq!(decides("not (mean < 500 and FILTER == 'V')"), Some(true));
    assert_eq!(decides("mean < MISSING"), Some(false));
    assert_eq!(decides("FILTER == 'R' and mean < 500"), None);
    assert_eq!(decides("not mean < 500"), None);
}

#[test]
fn not_binds_closer_than_and_and_that_closer_than_or() {
    all_hold(&[
        "GOOD or GOOD and BAD",
        "not BAD and GOOD",
        "not GOOD == F",
        "(GOOD or BAD) and GOOD",
        "BAD and BAD or GOOD",
        "NOT BAD AND (bad OR good)",
    ]);
    none_holds(&["(GOOD or GOOD) and BAD", "not (BAD or GOOD)"]);
}

#[test]
fn faults_are_named_with_their_column() {
    for (text, column, phrase) in [
        ("", 1, "found the end"),
        ("EXPTIME >=", 11, "found the end"),
        ("EXPTIME >= and", 12, "found and"),
        ("1 < EXPTIME < 3", 13, "unexpected <"),
        ("FILTER == 'R", 11, "never closed"),
        ("FILTER 'R'", 8, "unexpected 'R'"),
        ("(GOOD", 6, "expected ), found the end"),
        ("(GOOD BAD)", 7, "expected ), found BAD"),
        ("GOOD)", 5, "unexpected )"),
        ("()", 2, "found )"),
        ("mean", 1, "mean alone"),
        ("30", 1, "30 alone"),
        ("'FILTER' == 'R'", 1, "both constants"),
        ("mean ~ '3*'", 6, "~ takes a keyword"),
        ("OBJECT ~ M3", 8, "~ takes a keyword"),
        ("DATE-OBS > 2024-05-01", 12, "2024-05-01 is not a number"),
        ("A == 1 ; B", 8, "unexpected ;"),
        ("GOOD & BAD", 6, "unexpected &"),
        ("A == 1 \u{1b}[0m", 8, "unexpected \\u{1b}"),
        ("not", 4, "found the end"),
        ("GOOD and", 9, "found the end"),
    ] {
        let error = Filter::parse(text).expect_err(text);
        let message = error.to_string();
        assert!(message.contains(phrase), "{text}: {message}");
        assert!(
            message.contains(&format!("column {column}:")),
            "{text}: {message}"
        );
        assert!(error.hint_text().is_some(), "{text}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_long_chains_are_not() {
    for opening in ["(", "!", "not ", "(!"] {
        let text = format!("{}GOOD", opening.repeat(100_000));
        let error = Filter::parse(&text).unwrap_err().to_string();
        assert!(
            error.contains("nested 65 deep, but 64 is the most"),
            "{error}"
        );
    }
    let (open, close) = ("(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
    assert!(holds(&format!("{open}GOOD{close}")));
    assert!(holds(&format!("GOOD{}", " and GOOD".repeat(20_000))));
    assert!(holds(&format!("{}GOOD", "BAD or ".repeat(20_000))));
    assert!(holds(&format!("{}GOOD", "(GOOD) and ".repeat(1000))));
}

#[test]
fn no_text_makes_the_parser_panic() {
    let parts = [
        "(", ")", "not ", "!", "=", "~", "<", "'", "\"", "`", "A", "mean", "1", "-", ".", "e+",
        " ", "and ", "\u{e9}", "'x'", "\\", "[", "\0", "T", "&", "|",
    ];
    let mut seed = 1u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text += parts[(seed >> 33) as usize % parts.len()];
        }
        if let Ok(filter) = Filter::parse(&text) {
            filter.accepts(&cards(), &measured());
            filter.accepts(&Cards::from_bytes(vec![0xff; 200]), &Measured::default());
        }
    }
}
