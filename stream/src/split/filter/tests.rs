//! Filters against headers, their errors, and any text at all.

use proptest::prelude::*;

use super::*;

fn header() -> Header {
    Header::parse(
        br#"{"htype":"dimage-1.0","series":7,"frame":20,"source":"X06SA","gain":-2.5,"big":18446744073709551615,
            "tags":["dark","cal"],"ok":true,"none":null,"run":"12","minus":-3,
            "global_timestamp":{"sec":5,"ns":0},"a.b":1}"#,
    )
    .unwrap()
}

#[test]
fn what_passes_and_what_does_not() {
    for (filter, expected) in [
        ("htype=dimage-1.0", true),
        ("htype == dimage-1.0", true),
        ("htype!=dimage-1.0", false),
        ("frame%10=0", true),
        ("frame % 3 = 2", true),
        ("frame%3!=2", false),
        ("frame%7>=6", true),
        ("minus%5=2", true),
        ("gain%2=0", false),
        ("source%2=0", false),
        ("source%2!=0", true),
        ("source=X06SA", true),
        ("source=\"X06SA\"", true),
        ("source='X06SA'", true),
        ("source = 'X06SA' && frame = 20", true),
        ("source='X06\\'SA' || source='\"'", false),
        ("source=x06sa", false),
        ("frame<21&&frame>19", true),
        ("frame<=20&&frame>=20", true),
        ("frame<20", false),
        ("frame=20.0", true),
        ("gain<-2", true),
        ("gain=-2.5", true),
        ("big=18446744073709551615", true),
        ("big=18446744073709551614", false),
        ("big>18446744073709551614", true),
        ("tags=cal", true),
        ("tags=light", false),
        ("tags!=light", true),
        ("ok=true", true),
        ("ok=1", false),
        ("none=null", true),
        ("run=12", true),
        ("run=\"12\"", true),
        ("frame=\"20\"", false),
        ("run<13", false),
        ("global_timestamp.sec=5", true),
        ("global_timestamp.min=5", false),
        ("a.b=1", true),
        ("missing=1", false),
        ("missing!=1", true),
        ("missing<1", false),
        ("frame", true),
        ("!frame", false),
        ("!missing && frame", true),
        ("missing || frame", true),
        ("frame=1 || frame=20 && source=X06SA", true),
        ("frame=20 || frame=1 && source=no", true),
        ("htype=bs16-lz4<", false),
    ] {
        let parsed: Filter = filter.parse().unwrap();
        assert_eq!(parsed.matches(&header()), expected, "{filter}");
        let again: Filter = parsed.to_string().parse().unwrap();
        assert_eq!(again, parsed, "{filter} is shown as {parsed}");
    }
}

#[test]
fn a_verdict_stays_open_where_a_field_is_missing() {
    let start = Header::new("dheader-1.0").with("series", 3);
    for (filter, expected) in [
        ("frame%10=0", None),
        ("htype=dimage-1.0", Some(false)),
        ("htype=dimage-1.0 && frame%10=0", Some(false)),
        ("series=3 && frame%10=0", None),
        ("series=3", Some(true)),
        ("series=4 || frame<5", None),
        ("series=3 || frame<5", Some(true)),
    ] {
        let filter: Filter = filter.parse().unwrap();
        assert_eq!(filter.verdict(&start), expected, "{filter}");
    }
}

#[test]
fn errors_say_what_and_where() {
    use FilterErrorKind::*;
    for (filter, position, kind) in [
        ("", 0, NoField),
        ("   ", 3, NoField),
        ("=5", 0, NoField),
        ("frame ~ 5", 6, NoOperator("~".into())),
        ("frame=", 6, NoValue),
        ("frame= && a=1", 7, NoValue),
        ("frame=5 &&", 10, NoField),
        ("frame=5 & a=1", 8, NoOperator("&".into())),
        ("frame%=0", 6, NoModulus),
        ("frame%0=0", 6, NoModulus),
        ("frame%-3=0", 6, NoModulus),
        ("frame%10", 8, NoRemainder),
        ("frame<x", 6, NotANumber("<")),
        ("frame>=x", 7, NotANumber(">")),
        ("frame%2=x", 8, NotANumber("%")),
        // What would otherwise be words that nothing is equal to.
        ("frame=>5", 6, LikeOperator('>')),
        ("frame=<5", 6, LikeOperator('<')),
        ("frame===5", 7, LikeOperator('=')),
        ("frame=!5", 6, LikeOperator('!')),
        ("!frame=5", 6, Negated("frame".into())),
        ("! frame % 2 = 1", 8, Negated("frame".into())),
        ("a=\"b", 2, OpenQuote),
        ("a='b\"", 2, OpenQuote),
        ("a=\"b\\n\"", 4, BadEscape),
        ("a='b\\\"'", 4, BadEscape),
        ("ä=5 é", 5, NoOperator("é".into())),
    ] {
        let error = filter.parse::<Filter>().unwrap_err();
        assert_eq!((error.position(), error.kind()), (position, &kind), "{filter}");
        assert!(error.to_string().starts_with(&format!("at byte {position}: ")));
    }
    let long = "a".repeat(Filter::MAX_SIZE + 1).parse::<Filter>().unwrap_err();
    assert_eq!(long.kind(), &TooLong(4097));
    // Its spaces make it too long: what is taken can be written and read again.
    let dense = ["a=1"; Filter::MAX_SIZE / 5].join("&&");
    assert!(dense.len() <= Filter::MAX_SIZE);
    let written = dense.parse::<Filter>().unwrap_err();
    assert_eq!(
        written.kind(),
        &TooLong(dense.len() + 4 * (Filter::MAX_SIZE / 5) - 2)
    );
}

proptest! {
    #[test]
    fn any_text_is_a_filter_or_an_error(text in ".*") {
        match text.parse::<Filter>() {
            Ok(filter) => {
                let _ = (filter.matches(&header()), filter.verdict(&header()));
                prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
            }
            Err(error) => prop_assert!(text.is_char_boundary(error.position())),
        }
    }

    #[test]
    fn texts_that_resemble_filters_do_no_harm(text in "[a-z0-9 =!<>%&|\"'\\\\.é-]{0,30}") {
        if let Ok(filter) = text.parse::<Filter>() {
            let _ = filter.verdict(&header());
            prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
        }
    }

    #[test]
    fn any_text_can_be_compared_with(value in ".*") {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        prop_assume!(escaped.len() < 4_000);
        let filter: Filter = format!("field = \"{escaped}\"").parse().unwrap();
        prop_assert!(filter.matches(&Header::new("x").with("field", value.as_str())));
    }

    #[test]
    fn numbers_are_compared_as_numbers(a: i64, b: i64, modulus in 1_u64..100) {
        let header = Header::new("x").with("n", a);
        let check = |filter: String| filter.parse::<Filter>().unwrap().matches(&header);
        prop_assert_eq!(check(format!("n<{b}")), a < b);
        prop_assert_eq!(check(format!("n>={b}")), a >= b);
        prop_assert_eq!(check(format!("n={b}")), a == b);
        let rest = i128::from(a).rem_euclid(i128::from(modulus));
        let passes = check(format!("n%{modulus}={rest}"));
        prop_assert!(passes);
    }

    /// Where nothing is missing, a verdict is what matching says.
    #[test]
    fn verdicts_and_matches_agree(terms in prop::collection::vec((0_u8..3, 0_i64..4, any::<bool>()), 1..5)) {
        let header = Header::new("x").with("a", 1).with("b", 2).with("c", 3);
        let mut text = String::new();
        for (index, (field, value, and)) in terms.into_iter().enumerate() {
            let glue = match (index, and) { (0, _) => "", (_, true) => " && ", _ => " || " };
            let field = ["a", "b", "c"][usize::from(field)];
            text += &format!("{glue}{field} = {value}");
        }
        let filter: Filter = text.parse().unwrap();
        prop_assert_eq!(filter.verdict(&header), Some(filter.matches(&header)));
    }
}
