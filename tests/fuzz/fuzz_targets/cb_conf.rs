//! The predecessor's configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tsg_bridge::identity::Identity;
use tsg_bridge::import::CbConf;

fuzz_target!(|text: &[u8]| match CbConf::parse(text) {
    Ok(conf) => {
        let secret = conf.identity.secret().bytes();
        let again = Identity::from_secret(tsg_bridge::identity::SecretKey::new(secret));
        assert_eq!(again.public(), conf.identity.public());
    }
    Err(bad) => {
        let lines = text.iter().filter(|&&byte| byte == b'\n').count() + 1;
        assert!(!bad.0.is_empty());
        assert!(bad.0.iter().all(|bad| bad.line <= lines), "{bad}");
    }
});
