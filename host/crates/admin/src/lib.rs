//! Administration: the API as a router, the owner-only Unix socket and the network listener on which a
//! running gateway serves it, the client with which the command line asks, and the webhook that tells
//! approvers of holds. What it shows and whom it believes comes through ports, so this crate knows no
//! store and no policy runtime.

mod api;
mod client;
mod problem;
mod socket;
mod tcp;
mod webhook;
mod webhook_url;

pub use api::{
    AnswerBody, Api, ApiParts, Door, GrantList, Health, IssuedTicket, LoginIssuer, LoginIssuers, Policies, PolicyList,
    Rights, RoleBody, RoleList, RoleOffer, SessionView, TicketBody, TicketList, Token, UsableTarget, UsableTargets,
    WhoAmI, router,
};
pub use client::{AdminClient, ClientError, Credentials, Export};
pub use problem::Problem;
pub use socket::{AdminSocket, SocketError, path};
pub use tcp::serve_tcp;
pub use webhook::{Webhook, WebhookConfig, WebhookError};
pub use webhook_url::{WebhookUrl, WebhookUrlError};
