//! The example of docs/protocol.md: TEK 00 01 02 … 1f, epoch 3, sender 17. The packets were
//! computed with Python's hashlib and OpenSSL.

use tsg_esp::crypto::{Kdf, Spi, Suite, Tek};
use tsg_esp::form::Form;
use tsg_esp::ip::Outline;
use tsg_esp::open::Receiver;
use tsg_esp::seal::Sender;

use crate::known::{array, bytes};
use crate::rustcrypto::{Blake2, TestCipher};
use crate::traffic::{Buffer, FORMS};

/// Pseudo-time of the packet with number 1; each has a millisecond more than the one before.
const FIRST_TIME: u32 = 3_600_000;

struct Example {
    suite: Suite,
    form: Form,
    plain: &'static str,
    sealed: &'static str,
}

const UDP_V4: &str = "45000021123440004011a494c0000201c000020213881389000d000076333d3134";
const UDP_V6: &str = "60000000000d114020010db800000000000000000000000120010db8000000000000000000000002\
                      13881389000d000076333d3134";

/// In the order of their sequence numbers.
const EXAMPLES: [Example; 6] = [
    Example {
        suite: Suite::ChaCha20Poly1305,
        form: FORMS[0],
        plain: UDP_V4,
        sealed: "450000441234400040fda385c0000201c000020203000011000000010036ee8000000001\
                 9195cc5bb0d68e7849848c520e2001237a82de58bc1847a468bbfb57bb83691a",
    },
    Example {
        suite: Suite::Aes256Gcm,
        form: FORMS[0],
        plain: UDP_V4,
        sealed: "450000441234400040fda385c0000201c000020203000011000000020036ee8100000002\
                 babe733bd8f57247726343c62a7bc4bb3cfab0d65feff4fa9b2b104cbc1f0eef",
    },
    Example {
        suite: Suite::ChaCha20Poly1305,
        form: FORMS[0],
        plain: UDP_V6,
        sealed: "600000000030fd4020010db800000000000000000000000120010db8000000000000000000000002\
                 03000011000000030036ee8200000003\
                 d1a32e32d5623a67fe672a7f353ae901d38870205b205728f457ddb16cf129c3",
    },
    // A fragment: offset 40, more to come, identification 0x1234.
    Example {
        suite: Suite::ChaCha20Poly1305,
        form: FORMS[0],
        plain: "4500001c1234600540118494c0000201c00002020001020304050607",
        sealed: "450000481234400040fda381c0000201c000020203000011000000040036ee8300000004\
                 cbe2d6e8b64918532584af6d7803ffe082d814f6f8ec40bb21e549da0d1a1671985ede70",
    },
    Example {
        suite: Suite::ChaCha20Poly1305,
        form: FORMS[1],
        plain: UDP_V4,
        sealed: "4500004c123440004011a469c0000201c0000202109d109d00380000\
                 03000011000000050036ee8400000005\
                 3a7ae811dee1669fa36236c7260b77b7ebc1db76a106401cb7e4698876a86f93",
    },
    Example {
        suite: Suite::ChaCha20Poly1305,
        form: FORMS[1],
        plain: UDP_V6,
        sealed: "600000000038114020010db800000000000000000000000120010db8000000000000000000000002\
                 109d109d003821af03000011000000060036ee8500000006\
                 6eada0276cd5de140b4765fe89ba21088a5592c5c66928acf91de8718a258199",
    },
];

#[test]
fn the_packets_are_those_that_others_compute() {
    let mut tek = [0; 32];
    tek.iter_mut().zip(0..).for_each(|(byte, n)| *byte = n);
    let spi = Spi::new(3, 17).unwrap();
    let key = Blake2::derive(&Tek::new(tek), spi);
    assert_eq!(spi.value(), 0x0300_0011);
    assert_eq!(key.key, array("2f5e591a2e2ed86973b181b76950f8a5bb69a9c0712b84e18c3c2968355fb3d6"));
    assert_eq!(key.salt, array("b505fccc"));

    for (example, number) in EXAMPLES.iter().zip(1u32..) {
        let Example { suite, form, .. } = example;
        let (plain, sealed) = (bytes(example.plain), bytes(example.sealed));
        let cipher = || TestCipher::new(*suite, &key.key);
        let mut sender = Sender::new(spi, cipher(), key.salt, number.into(), 1 << 20);
        let outline = Outline::parse(&plain).unwrap();
        let mut buffer = Buffer::of(&plain);
        let mut place = buffer.packet();
        sender.seal(&mut place, &outline, FIRST_TIME + number - 1, form).unwrap();
        assert_eq!(place.bytes(), sealed, "packet {number}");

        let receiver = Receiver::new(spi, cipher(), key.salt);
        let outline = Outline::parse(&sealed).unwrap();
        let opened = receiver.open(&mut place, &outline, form).unwrap();
        assert_eq!((opened.sequence, opened.time), (number, FIRST_TIME + number - 1));
        assert_eq!(place.bytes(), plain);
    }
    println!("{} packets", EXAMPLES.len());
}
