//! The command line's side of the API, over the owner's socket or the network. Every request has a
//! deadline and every answer a bound, so that a gateway in trouble cannot hang or fill the one who asks.

mod connection;
mod error;
mod query;

use std::{marker::PhantomData, path::Path, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use sluicegate_core::{
    Approval, ApprovalId, SessionId,
    access::TicketId,
    sessions::{ApprovalFilter, ApprovalPage, SessionFilter, SessionPage},
};
use tokio::time::timeout;

pub use self::error::ClientError;
use self::{connection::Connection, query::Query};
use crate::api::{
    AnswerBody, GrantList, IssuedTicket, LoginIssuer, LoginIssuers, PolicyList, RoleBody, RoleList, SessionView,
    TicketBody, TicketList, Token, UsableTarget, UsableTargets, WhoAmI,
};

/// How long a gateway may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// The most bytes of an answer that is not streamed. A page of entries has some 2 MiB before it becomes
/// JSON.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// How to say who asks.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A name with its secret.
    Secret {
        /// The name.
        user: String,
        /// The secret.
        secret: SecretString,
    },
    /// A session token, or an issuer's token.
    Token(SecretString),
}

/// One who asks a gateway. None of its requests is cancel-safe: afterwards the client is of no use.
pub struct AdminClient {
    connection: Connection,
    authorization: Option<HeaderValue>,
}

/// A session's export as it arrives.
pub struct Export<'a> {
    body: Incoming,
    /// Nothing else can be asked until it has ended.
    client: PhantomData<&'a mut AdminClient>,
}

impl AdminClient {
    /// Connects to the gateway that runs on a data folder. [`ClientError::NotRunning`] tells that none
    /// does.
    pub async fn connect(data_dir: &Path) -> Result<Self, ClientError> {
        let mut connection = Connection::to_data_dir(data_dir);
        connection.open().await?;
        Ok(Self { connection, authorization: None })
    }

    /// Connects to the gateway at a URL: `https://host:port`, whose certificate must come from the
    /// authority in the PEM file `ca`, or from one that this system trusts; or `http://` with a loopback
    /// address.
    pub async fn connect_to(url: &str, ca: Option<&Path>) -> Result<Self, ClientError> {
        let mut connection = Connection::to_url(url, ca)?;
        connection.open().await?;
        Ok(Self { connection, authorization: None })
    }

    /// The host of the gateway's URL, and whether it has a certificate; none on the owner's socket.
    pub fn place(&self) -> Option<(&str, bool)> {
        self.connection.place()
    }

    /// Says from now on who asks.
    pub fn authenticate(&mut self, credentials: &Credentials) -> Result<(), ClientError> {
        let value = match credentials {
            Credentials::Secret { user, .. } if user.contains(':') => return Err(ClientError::Credentials),
            Credentials::Secret { user, secret } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{}", secret.expose_secret())))
            }
            Credentials::Token(token) => format!("Bearer {}", token.expose_secret()),
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| ClientError::Credentials)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    /// Lists sessions, from the newest or a page's `next` on.
    pub async fn sessions(&mut self, filter: &SessionFilter) -> Result<SessionPage, ClientError> {
        self.get(Query::of_sessions(filter)?.text()).await
    }

    /// One session with its entries from a page's `next` on, or from 0; none if there is no such
    /// session.
    pub async fn session(&mut self, id: SessionId, from: u64) -> Result<Option<SessionView>, ClientError> {
        let path = Query::new(&format!("/api/v1/sessions/{id}")).with("from", Some(from));
        if_found(self.get(path.text()).await)
    }

    /// A session's export with its proof; none if there is no such session.
    pub async fn export(&mut self, id: SessionId) -> Result<Option<Export<'_>>, ClientError> {
        let request = self.request(Method::GET, &format!("/api/v1/sessions/{id}/export"), None)?;
        let response = in_time(self.connection.send(request)).await??;
        if response.status() == StatusCode::OK {
            return Ok(Some(Export { body: response.into_body(), client: PhantomData }));
        }
        if_found(Err(refusal(&in_time(read(response.into_body())).await??)))
    }

    /// The public key with which exports are verified, as PEM.
    pub async fn record_key(&mut self) -> Result<String, ClientError> {
        let key = self.ask(Method::GET, "/api/v1/record/key", None).await?;
        String::from_utf8(key.to_vec()).map_err(|_| ClientError::Text)
    }

    /// Lists approvals, from the newest or a page's `next` on.
    pub async fn approvals(&mut self, filter: &ApprovalFilter) -> Result<ApprovalPage, ClientError> {
        self.get(Query::of_approvals(filter).text()).await
    }

    /// One approval; none if there is no such approval that the caller may see.
    pub async fn approval(&mut self, id: ApprovalId) -> Result<Option<Approval>, ClientError> {
        if_found(self.get(&format!("/api/v1/approvals/{id}")).await)
    }

    /// Approves or denies, and returns the approval as it then stands. Needs credentials.
    pub async fn answer(&mut self, id: ApprovalId, approved: bool, note: &str) -> Result<Approval, ClientError> {
        let path = format!("/api/v1/approvals/{id}/{}", if approved { "approve" } else { "deny" });
        self.post(&path, &AnswerBody { note: note.to_owned() }).await
    }

    /// The policies, one object for each module.
    pub async fn policies(&mut self) -> Result<Vec<serde_json::Value>, ClientError> {
        let list: PolicyList = self.get("/api/v1/policies").await?;
        Ok(list.items)
    }

    /// Issues a ticket. Needs credentials.
    pub async fn issue_ticket(&mut self, body: &TicketBody) -> Result<IssuedTicket, ClientError> {
        self.post("/api/v1/tickets", body).await
    }

    /// The tickets that are valid, as far as they concern the caller.
    pub async fn tickets(&mut self) -> Result<TicketList, ClientError> {
        self.get("/api/v1/tickets").await
    }

    /// Revokes a ticket. Needs credentials.
    pub async fn revoke_ticket(&mut self, id: TicketId) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/api/v1/tickets/{id}"), None).await.map(drop)
    }

    /// The roles that the caller may ask for.
    pub async fn roles(&mut self) -> Result<RoleList, ClientError> {
        self.get("/api/v1/roles").await
    }

    /// Asks for a role. Needs credentials.
    pub async fn request_role(&mut self, body: &RoleBody) -> Result<Approval, ClientError> {
        self.post("/api/v1/grants", body).await
    }

    /// The grants that are in force, as far as they concern the caller.
    pub async fn grants(&mut self) -> Result<GrantList, ClientError> {
        self.get("/api/v1/grants").await
    }

    /// Ends a grant. Needs credentials.
    pub async fn revoke_grant(&mut self, id: ApprovalId) -> Result<(), ClientError> {
        self.ask(Method::DELETE, &format!("/api/v1/grants/{id}"), None).await.map(drop)
    }

    /// A session token for whoever asks with their secret.
    pub async fn create_token(&mut self) -> Result<Token, ClientError> {
        parse(&self.ask(Method::POST, "/api/v1/tokens", None).await?)
    }

    /// Ends the token with which this client asks.
    pub async fn revoke_token(&mut self) -> Result<(), ClientError> {
        self.ask(Method::DELETE, "/api/v1/tokens", None).await.map(drop)
    }

    /// Who the gateway takes this client for.
    pub async fn whoami(&mut self) -> Result<WhoAmI, ClientError> {
        self.get("/api/v1/whoami").await
    }

    /// The issuers with which people log in. Needs no credentials.
    pub async fn login_issuers(&mut self) -> Result<Vec<LoginIssuer>, ClientError> {
        let list: LoginIssuers = self.get("/api/v1/login").await?;
        Ok(list.items)
    }

    /// The targets that this client may use.
    pub async fn targets(&mut self) -> Result<Vec<UsableTarget>, ClientError> {
        let list: UsableTargets = self.get("/api/v1/targets").await?;
        Ok(list.items)
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ClientError> {
        parse(&self.ask(Method::GET, path, None).await?)
    }

    async fn post<T: DeserializeOwned>(&mut self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Answer)?;
        parse(&self.ask(Method::POST, path, Some(body.into())).await?)
    }

    /// The body of a successful answer.
    async fn ask(&mut self, method: Method, path: &str, body: Option<Bytes>) -> Result<Bytes, ClientError> {
        let request = self.request(method, path, body)?;
        let (status, body) = in_time(async {
            let response = self.connection.send(request).await?;
            Ok::<_, ClientError>((response.status(), read(response.into_body()).await?))
        })
        .await??;
        if status.is_success() { Ok(body) } else { Err(refusal(&body)) }
    }

    fn request(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, self.connection.host());
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request.body(Full::new(body.unwrap_or_default())).map_err(ClientError::Request)
    }
}

impl Export<'_> {
    /// The next bytes; none at the end. An error means that the export is not whole.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match in_time(self.body.frame()).await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::Body(error.into())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

async fn read(body: Incoming) -> Result<Bytes, ClientError> {
    let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(ClientError::Body)?;
    Ok(body.to_bytes())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(ClientError::Answer)
}

fn refusal(body: &[u8]) -> ClientError {
    serde_json::from_slice(body).map_or_else(ClientError::Answer, ClientError::Problem)
}

/// Takes "not found" for none.
fn if_found<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Err(ClientError::Problem(problem)) if problem.status == StatusCode::NOT_FOUND.as_u16() => Ok(None),
        other => other.map(Some),
    }
}

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T, ClientError> {
    timeout(DEADLINE, work).await.map_err(|_| ClientError::Timeout)
}
