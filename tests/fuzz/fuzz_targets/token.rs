//! Enrolment tokens, as an operator pastes them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_bridge::config::Endpoint;
use tsg_control::token::Token;

fuzz_target!(|text: &str| {
    if let Ok(token) = Token::decode(text) {
        for server in token.servers.iter().filter_map(|server| server.parse::<Endpoint>().ok()) {
            assert_eq!(server.to_string().parse(), Ok(server));
        }
        assert_eq!(Token::decode(&token.encode()), Ok(token));
    }
});
