//! Enrolment tokens, as an operator pastes them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_control::token::Token;

fuzz_target!(|text: &str| {
    if let Ok(token) = Token::decode(text) {
        assert_eq!(Token::decode(&token.encode()), Ok(token));
    }
});
