//! Tokens by example: what is read, what is refused.

use super::*;
use crate::settings::Expected;

fn token(header: &str, payload: &str) -> String {
    format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn claims(json: &str) -> Claims {
    Payload::parse(json.as_bytes(), Kind::Connection).unwrap().claims
}

#[test]
fn a_token_comes_apart_into_algorithm_key_and_signed_message() {
    let token = token(r#"{"alg":"ES256","typ":"JWT","kid":"k1"}"#, r#"{"sub":"42"}"#);
    let unverified = Unverified::parse(&token).unwrap();
    assert_eq!(unverified.algorithm, Algorithm::Es256);
    assert_eq!(unverified.kid.as_deref(), Some("k1"));
    assert_eq!(unverified.signature, "c2ln");
    assert_eq!(format!("{}.c2ln", unverified.message), token);
    assert_eq!(unverified.payload(Kind::Connection).unwrap().claims.user, "42");
}

#[test]
fn no_algorithm_and_unknown_ones_are_refused() {
    for alg in ["none", "None", "NONE", "", "PS1", "ES521", "HS1", "es256"] {
        let token = token(&format!(r#"{{"alg":"{alg}"}}"#), "{}");
        assert_eq!(Unverified::parse(&token), Err(Malformed::Algorithm), "{alg}");
    }
    assert_eq!(Unverified::parse(&token("{}", "{}")), Err(Malformed::Header));
}

#[test]
fn a_critical_extension_is_refused() {
    let token = token(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}");
    assert_eq!(Unverified::parse(&token), Err(Malformed::Header));
}

#[test]
fn garbage_is_malformed() {
    for token in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "!!.!!.!!", "e30.e30.e30", "🦀.🦀.🦀"] {
        assert!(Unverified::parse(token).is_err(), "{token}");
    }
    let token = token(r#"{"alg":"HS256"}"#, "[]");
    assert_eq!(Unverified::parse(&token).unwrap().payload(Kind::Connection), Err(Malformed::Claims));
}

#[test]
fn expiry_of_the_connection_follows_the_token_unless_it_says_otherwise() {
    assert_eq!(claims(r#"{"exp":100}"#), Claims { exp: 100, expire_at: 100, ..Claims::default() });
    assert_eq!(claims(r#"{"exp":100,"expire_at":0}"#), Claims { exp: 100, ..Claims::default() });
    assert_eq!(claims(r#"{"exp":100,"expire_at":200}"#).expire_at, 200);
    assert_eq!(claims(r#"{"expire_at":200}"#), Claims { expire_at: 200, ..Claims::default() });
    assert_eq!(claims("{}"), Claims::default());
}

#[test]
fn an_expiry_at_or_before_1970_is_long_past_and_not_never() {
    for json in [r#"{"exp":0}"#, r#"{"exp":-5}"#, r#"{"exp":-1e300}"#] {
        assert!(claims(json).expired(1_000_000), "{json}");
    }
    assert!(!claims("{}").expired(u64::MAX));
    assert!(!claims(r#"{"exp":1e300}"#).expired(1_000_000));
}

#[test]
fn dates_may_have_a_fraction_and_the_last_second_does_not_count() {
    let claims = claims(r#"{"exp":100.75}"#);
    assert!(!claims.expired(99));
    assert!(claims.expired(100));
    let payload = Payload::parse(br#"{"nbf":50}"#, Kind::Connection).unwrap();
    assert!(payload.early(49));
    assert!(!payload.early(50));
}

#[test]
fn info_stays_verbatim_and_b64info_goes_before_it() {
    assert_eq!(claims(r#"{"info": {"name" : "A"} }"#).info, br#"{"name" : "A"}"#);
    assert_eq!(claims(r#"{"info":1,"b64info":"eyJhIjoxfQ=="}"#).info, br#"{"a":1}"#);
    assert_eq!(claims(r#"{"b64info":"eyJhIjoxfQ"}"#).info, br#"{"a":1}"#);
    assert_eq!(claims(r#"{"info":null,"b64info":""}"#).info, b"");
}

#[test]
fn claims_of_the_wrong_kind_are_refused() {
    for json in [
        r#"{"sub":42}"#,
        r#"{"exp":"100"}"#,
        r#"{"expire_at":"1"}"#,
        r#"{"aud":5}"#,
        r#"{"channels":"news"}"#,
        r#"{"subs":["news"]}"#,
        r#"{"subs":{"news":{"b64info":"!"}}}"#,
        r#"{"b64info":"!"}"#,
        r#"{"b64info":"bm90IGpzb24="}"#,
        r#"{"sub":"a","sub":"b"}"#,
        "null",
        "",
    ] {
        assert_eq!(Payload::parse(json.as_bytes(), Kind::Connection), Err(Malformed::Claims), "{json}");
    }
}

fn subscription(json: &str) -> Result<Claims, Malformed> {
    Payload::parse(json.as_bytes(), Kind::Subscription).map(|payload| payload.claims)
}

#[test]
fn an_expiry_of_the_connection_below_zero_is_never() {
    assert_eq!(claims(r#"{"exp":100,"expire_at":-1}"#), Claims { exp: 100, ..Claims::default() });
}

#[test]
fn channels_of_a_connection_are_sorted_and_each_there_once() {
    let subs = claims(r#"{"channels":["b","a","b"]}"#).subs;
    let names: Vec<&str> = subs.iter().map(|sub| sub.channel.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(claims(r#"{"channels":[],"subs":{}}"#).subs, []);
}

#[test]
fn subs_go_before_channels_and_say_what_is_different() {
    let json = r#"{"channels":["x"],"subs":{
        "news":{"info":{"a":1},"b64data":"eyJhIjoxfQ==","override":{"presence":{"value":true},"force_recovery":{}}},
        "b":{}}}"#;
    let overrides = Overrides { presence: Some(true), force_recovery: Some(false), ..Overrides::default() };
    let news = Sub {
        channel: "news".to_owned(),
        info: br#"{"a":1}"#.to_vec(),
        data: br#"{"a":1}"#.to_vec(),
        overrides,
    };
    assert_eq!(claims(json).subs, [Sub { channel: "b".to_owned(), ..Sub::default() }, news]);
}

#[test]
fn more_channels_than_a_token_may_have_are_refused() {
    let channels: Vec<String> = (0..=TOKEN_SUBS_MAX).map(|number| format!("c{number}")).collect();
    let json = serde_json::json!({ "channels": channels }).to_string();
    assert_eq!(Payload::parse(json.as_bytes(), Kind::Connection), Err(Malformed::Claims));
}

#[test]
fn a_subscription_token_is_for_one_channel_and_keeps_its_info_for_it() {
    let json = r#"{"sub":"42","channel":"$chat:1","client":"c","info":{"a":1},"data":[2],"exp":9,"override":{"join_leave":{"value":true}}}"#;
    let claims = subscription(json).unwrap();
    assert_eq!((claims.user.as_str(), claims.client.as_str(), claims.exp), ("42", "c", 9));
    assert_eq!(claims.info, b"");
    let [sub] = &claims.subs[..] else { panic!("one channel") };
    assert_eq!(
        (sub.channel.as_str(), &sub.info[..], &sub.data[..]),
        ("$chat:1", &br#"{"a":1}"#[..], &b"[2]"[..])
    );
    assert_eq!(sub.overrides.join_leave, Some(true));
}

#[test]
fn a_token_of_one_kind_is_not_taken_for_the_other() {
    let with = br#"{"sub":"42","channel":"news"}"#;
    let without = br#"{"sub":"42"}"#;
    assert_eq!(Payload::parse(with, Kind::Connection), Err(Malformed::Kind));
    assert_eq!(Payload::parse(without, Kind::Subscription), Err(Malformed::Kind));
}

#[test]
fn audience_and_issuer_are_what_the_operator_expects() {
    let read = |json: &str| Payload::parse(json.as_bytes(), Kind::Connection).unwrap();
    let exactly = |text: &str| Expected::Exactly(text.to_owned());
    let tokens = Tokens { audience: exactly("edge"), issuer: exactly("app"), ..Tokens::default() };
    assert!(read(r#"{"aud":"edge","iss":"app"}"#).expected(&tokens));
    assert!(read(r#"{"aud":["api","edge"],"iss":"app"}"#).expected(&tokens));
    for json in [r#"{"aud":"edge"}"#, r#"{"iss":"app"}"#, r#"{"aud":[],"iss":"app"}"#, "{}"] {
        assert!(!read(json).expected(&tokens), "{json}");
    }
    assert!(read("{}").expected(&Tokens::default()));
}
