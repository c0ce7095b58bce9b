//! Who is signed in. In memory: a restart of the server ends all sessions.

use super::desk::Caller;
use super::{App, Peer};
use crate::accounts::{Directory, Role, TotpSecret, Version};
use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Without a request of the user's own a session ends after this, and whatever happens after that.
const IDLE: Duration = Duration::from_secs(3_600);
const LONGEST: Duration = Duration::from_secs(12 * 3_600);

/// More are not remembered, of one user and of all: the oldest ends.
const MOST_OF_ONE: usize = 20;
const MOST: usize = 1_000;

/// With TLS the name makes browsers insist on it.
const SAFE_COOKIE: &str = "__Host-tsg";
const PLAIN_COOKIE: &str = "tsg";

/// All sessions, by the hash of what the browser shows: a look into memory gives nobody a session.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

struct Session {
    user: String,
    /// Which user of that name, and in which version.
    version: Version,
    began: Instant,
    seen: Instant,
    csrf: String,
    notice: Option<Notice>,
    /// A second factor that was shown and not confirmed yet.
    proposed: Option<TotpSecret>,
}

/// What the next page says on top.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) is_error: bool,
}

/// Somebody who is signed in.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) user: String,
    pub(super) role: Role,
    pub(super) from: IpAddr,
    /// What forms have to bring along.
    pub(super) csrf: String,
    key: [u8; 32],
    /// The page asks by itself, to renew itself.
    by_itself: bool,
}

impl Visitor {
    pub(super) fn caller(&self) -> Caller {
        Caller::user(&self.user, self.role, self.from)
    }
}

impl Sessions {
    /// Begins one, and gives the cookie for it.
    pub(super) fn begin(
        &self,
        user: &str,
        version: Version,
        secure: bool,
        now: Instant,
    ) -> HeaderValue {
        self.begin_telling(user, version, secure, now, None)
    }

    /// Begins one whose first page says something.
    pub(super) fn begin_telling(
        &self,
        user: &str,
        version: Version,
        secure: bool,
        now: Instant,
        text: Option<&str>,
    ) -> HeaderValue {
        let secret = random();
        let session = Session {
            user: user.to_owned(),
            version,
            began: now,
            seen: now,
            csrf: random(),
            notice: text.map(|text| Notice { text: text.to_owned(), is_error: false }),
            proposed: None,
        };
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.lives(now));
        for (most, of_one) in [(MOST_OF_ONE, true), (MOST, false)] {
            let same = sessions.iter().filter(|(_, other)| !of_one || other.user == user);
            if same.clone().count() >= most
                && let Some(oldest) = same.min_by_key(|(_, other)| other.seen).map(|(key, _)| *key)
            {
                sessions.remove(&oldest);
            }
        }
        sessions.insert(hash(&secret), session);
        cookie(&secret, secure)
    }

    /// The session of these headers, of a user who is still the same.
    fn find(
        &self,
        headers: &HeaderMap,
        directory: &Directory,
        secure: bool,
        from: IpAddr,
        by_itself: bool,
    ) -> Option<Visitor> {
        let key = hash(shown(headers, secure)?);
        let now = Instant::now();
        let mut sessions = self.lock();
        let session = sessions.get_mut(&key).filter(|session| session.lives(now))?;
        let accounts = directory.now();
        let user =
            accounts.user(&session.user).filter(|user| user.session_version() == session.version);
        let Some(user) = user else {
            sessions.remove(&key);
            return None;
        };
        if !by_itself {
            session.seen = now;
        }
        Some(Visitor {
            user: user.name.clone(),
            role: user.role,
            from,
            csrf: session.csrf.clone(),
            key,
            by_itself,
        })
    }

    /// Ends it, and gives the cookie that says so.
    pub(super) fn end(&self, visitor: &Visitor, secure: bool) -> HeaderValue {
        self.lock().remove(&visitor.key);
        cookie("", secure)
    }

    /// The next page of this session says something.
    pub(super) fn tell(&self, visitor: &Visitor, text: String, is_error: bool) {
        if let Some(session) = self.lock().get_mut(&visitor.key) {
            session.notice = Some(Notice { text, is_error });
        }
    }

    /// What this page says: once, and to somebody who looks at it.
    pub(super) fn told(&self, visitor: &Visitor) -> Option<Notice> {
        if visitor.by_itself {
            return None;
        }
        self.lock().get_mut(&visitor.key)?.notice.take()
    }

    /// A second factor that is to be confirmed.
    pub(super) fn propose(&self, visitor: &Visitor, secret: Option<TotpSecret>) {
        if let Some(session) = self.lock().get_mut(&visitor.key) {
            session.proposed = secret;
        }
    }

    /// The one that was proposed.
    pub(super) fn proposed(&self, visitor: &Visitor) -> Option<TotpSecret> {
        self.lock().get(&visitor.key)?.proposed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        let since = |then: Instant| now.saturating_duration_since(then);
        since(self.seen) < IDLE && since(self.began) < LONGEST
    }
}

fn random() -> String {
    let mut bytes = [0_u8; 32];
    tsg_sodium::random(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret).into()
}

const fn name(secure: bool) -> &'static str {
    if secure { SAFE_COOKIE } else { PLAIN_COOKIE }
}

fn cookie(secret: &str, secure: bool) -> HeaderValue {
    let safe = if secure { "; Secure" } else { "" };
    let ends = if secret.is_empty() { "; Max-Age=0" } else { "" };
    let text = format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict{safe}{ends}", name(secure));
    // Made of letters that a header may have.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn shown(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name(secure)).map(|(_, value)| value)
}

/// Marks a request that the page makes by itself: it does not keep a session alive.
pub(super) const BY_ITSELF: &str = "x-tsg-live";

/// Nobody is signed in: the answer instead.
pub(super) struct SignIn {
    to: String,
    by_itself: bool,
    set_up: bool,
}

impl IntoResponse for SignIn {
    fn into_response(self) -> Response {
        if self.by_itself {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        if self.set_up {
            return Redirect::to("/setup").into_response();
        }
        if self.to == "/" {
            return Redirect::to("/login").into_response();
        }
        let to: String = serde_html_form::to_string([("to", self.to)]).unwrap_or_default();
        Redirect::to(&format!("/login?{to}")).into_response()
    }
}

impl FromRequestParts<App> for Visitor {
    type Rejection = SignIn;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, SignIn> {
        let from = parts.extensions.get().map_or(IpAddr::from([0; 4]), |peer: &Peer| peer.0);
        let by_itself = parts.headers.contains_key(BY_ITSELF) || parts.uri.path() == "/live";
        let found = app.sessions.find(&parts.headers, &app.directory, app.secure, from, by_itself);
        // Where a form was sent to is no page to come back to.
        let to = parts.uri.path_and_query().filter(|_| parts.method == Method::GET);
        found.ok_or_else(|| SignIn {
            to: to.map_or("/", |to| to.as_str()).to_owned(),
            by_itself,
            set_up: app.directory.now().is_empty(),
        })
    }
}

impl FromRequestParts<App> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(IpAddr::from([0; 4]))))
    }
}

/// The answer to a form: the cookie, and where to go.
pub(super) fn with_cookie(cookie: HeaderValue, to: &str) -> Response {
    ([(SET_COOKIE, cookie)], Redirect::to(to)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Accounts, PasswordHash, UserChange};

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    struct Bench {
        sessions: Sessions,
        accounts: Accounts,
        directory: Directory,
    }

    impl Bench {
        fn new() -> Self {
            tsg_sodium::init().unwrap();
            let mut accounts = Accounts::default();
            let hash = PasswordHash::read("$argon2id$x".to_owned()).unwrap();
            accounts.add_user("ann", Role::Admin, hash.clone(), 1).unwrap();
            accounts.add_user("ben", Role::Viewer, hash, 1).unwrap();
            let directory = Directory::default();
            directory.show(&accounts);
            Self { sessions: Sessions::default(), accounts, directory }
        }

        fn find(&self, cookie: &HeaderValue) -> Option<Visitor> {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, format!("theme=dark; {pair}").parse().unwrap());
            self.sessions.find(&headers, &self.directory, true, HERE, false)
        }
    }

    #[test]
    fn a_cookie_is_known_until_the_session_ends() {
        let bench = Bench::new();
        let cookie = bench.sessions.begin("ben", (1, 1), true, Instant::now());
        let text = cookie.to_str().unwrap();
        assert!(text.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{text}");
        let visitor = bench.find(&cookie).unwrap();
        assert_eq!((visitor.user.as_str(), visitor.role), ("ben", Role::Viewer));
        let over = bench.sessions.end(&visitor, true);
        assert!(over.to_str().unwrap().contains("Max-Age=0"));
        assert!(bench.find(&cookie).is_none());
    }

    #[test]
    fn who_was_changed_or_taken_away_has_no_session() {
        let mut bench = Bench::new();
        let cookies =
            ["ann", "ben"].map(|user| bench.sessions.begin(user, (1, 1), true, Instant::now()));
        let role = UserChange { role: Some(Role::Operator), ..UserChange::default() };
        bench.accounts.change_user("ben", &role).unwrap();
        bench.directory.show(&bench.accounts);
        assert!(bench.find(&cookies[0]).is_some() && bench.find(&cookies[1]).is_none());
        // Somebody else of the same name has not signed in.
        let cookie = bench.sessions.begin("ben", (1, 1), true, Instant::now());
        bench.accounts.remove_user("ben").unwrap();
        let hash = PasswordHash::read("$argon2id$x".to_owned()).unwrap();
        bench.accounts.add_user("ben", Role::Admin, hash, 2).unwrap();
        bench.directory.show(&bench.accounts);
        assert!(bench.find(&cookie).is_none());
    }

    #[test]
    fn a_session_ends_by_itself() {
        let bench = Bench::new();
        let now = Instant::now();
        let old = |seen: Duration, began: Duration| {
            let cookie = bench.sessions.begin("ann", (1, 1), true, now);
            for session in bench.sessions.lock().values_mut() {
                (session.seen, session.began) = (now - seen, now - began);
            }
            bench.find(&cookie).is_some()
        };
        let minute = Duration::from_secs(60);
        assert!(old(Duration::ZERO, Duration::ZERO) && old(IDLE - minute, IDLE));
        assert!(!old(IDLE, IDLE) && !old(Duration::ZERO, LONGEST));
    }

    #[test]
    fn there_are_never_too_many() {
        let bench = Bench::new();
        let first = bench.sessions.begin("ann", (1, 1), true, Instant::now());
        let other = bench.sessions.begin("ben", (1, 1), true, Instant::now());
        for _ in 0..MOST_OF_ONE {
            bench.sessions.begin("ann", (1, 1), true, Instant::now());
        }
        assert_eq!(bench.sessions.lock().len(), MOST_OF_ONE + 1);
        assert!(bench.find(&first).is_none(), "the oldest ended");
        assert!(bench.find(&other).is_some(), "somebody else's did not");
        for user in 0..MOST {
            bench.sessions.begin(&format!("user{user}"), (1, 1), true, Instant::now());
        }
        assert_eq!(bench.sessions.lock().len(), MOST);
    }

    #[test]
    fn what_is_no_cookie_of_ours_is_none() {
        let bench = Bench::new();
        bench.sessions.begin("ann", (1, 1), true, Instant::now());
        for wrong in ["__Host-tsg=", "__Host-tsg=AAAA", "tsg=x", "=", ";;;", "__Host-tsg"] {
            assert!(bench.find(&HeaderValue::from_str(wrong).unwrap()).is_none(), "{wrong}");
        }
    }
}
