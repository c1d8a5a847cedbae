//! Why it is not known who sends a request, and what the client is told of that.

/// Why it is not known who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// The field cannot be read.
    Malformed,
    /// No such user, password, token or way to log in.
    Wrong,
    /// The token is not valid any more.
    Expired,
    /// The token is good, but not for this.
    Scope,
    /// Too many tries.
    TooMany,
    /// Too many others are being asked for their passwords.
    Busy,
    /// The records are out of reach.
    Unavailable,
    /// An identity token that is not accepted, and what its owner is told of that.
    Token(String),
    /// Somebody else has to say who it is and cannot be asked now, such as an identity provider. The client is told this.
    Unreachable(String),
}

impl Problem {
    /// What the client is told: never whether there is such a user.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Malformed => "the Authorization header cannot be read",
            Self::Wrong => "the user name, password or token is not right",
            Self::Expired => "the token is not valid any more",
            Self::Scope => "the token does not allow this",
            Self::TooMany => "too many tries to log in; wait a minute",
            Self::Busy => "too many passwords are being checked; come again",
            Self::Unavailable => "the storage of the registry is unavailable; retry later",
            Self::Token(told) | Self::Unreachable(told) => told,
        }
    }

    /// After how many seconds the client may try again, if it is told to wait and not to log in otherwise.
    pub(crate) fn wait(&self) -> Option<u8> {
        match self {
            Self::TooMany => Some(60),
            Self::Busy => Some(5),
            Self::Unavailable => Some(1),
            Self::Unreachable(_) => Some(10),
            _ => None,
        }
    }

    /// The error of RFC 6750, section 3.1.
    pub(crate) fn error(&self) -> &'static str {
        match self {
            Self::Malformed | Self::TooMany | Self::Busy | Self::Unavailable | Self::Unreachable(_) => {
                "invalid_request"
            }
            Self::Wrong | Self::Expired | Self::Token(_) => "invalid_token",
            Self::Scope => "insufficient_scope",
        }
    }
}
