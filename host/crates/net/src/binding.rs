//! Channel binding data: `tls-server-end-point`, the hash of the server's certificate.
//! <https://www.rfc-editor.org/rfc/rfc5929#section-4.1>

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_parser::{
    oid_registry::{
        OID_HASH_SHA1, OID_NIST_HASH_SHA256, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_MD5WITHRSAENC,
        OID_PKCS1_SHA1WITHRSA, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA,
        OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384, OID_SIG_ECDSA_WITH_SHA512, Oid,
    },
    prelude::{FromDer, X509Certificate},
    signature_algorithm::SignatureAlgorithm,
    x509::AlgorithmIdentifier,
};

enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// The certificate hashed with its signature's own hash, where MD5 and SHA-1 count as SHA-256. None
/// where the signature names no single hash (Ed25519): the binding is undefined then.
pub(crate) fn server_end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(match hash_of(&parsed.signature_algorithm)? {
        Hash::Sha256 => Sha256::digest(certificate).to_vec(),
        Hash::Sha384 => Sha384::digest(certificate).to_vec(),
        Hash::Sha512 => Sha512::digest(certificate).to_vec(),
    })
}

fn hash_of(signature: &AlgorithmIdentifier<'_>) -> Option<Hash> {
    if let Ok(SignatureAlgorithm::RSASSA_PSS(params)) = SignatureAlgorithm::try_from(signature) {
        return hash_named(params.hash_algorithm_oid());
    }
    let oid = &signature.algorithm;
    let is = |names: &[Oid<'_>]| names.contains(oid);
    if is(&[OID_PKCS1_SHA256WITHRSA, OID_SIG_ECDSA_WITH_SHA256, OID_PKCS1_MD5WITHRSAENC, OID_PKCS1_SHA1WITHRSA]) {
        Some(Hash::Sha256)
    } else if is(&[OID_PKCS1_SHA384WITHRSA, OID_SIG_ECDSA_WITH_SHA384]) {
        Some(Hash::Sha384)
    } else if is(&[OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA512]) {
        Some(Hash::Sha512)
    } else {
        None
    }
}

fn hash_named(oid: &Oid<'_>) -> Option<Hash> {
    if [OID_NIST_HASH_SHA256, OID_HASH_SHA1].contains(oid) {
        Some(Hash::Sha256)
    } else if *oid == OID_NIST_HASH_SHA384 {
        Some(Hash::Sha384)
    } else if *oid == OID_NIST_HASH_SHA512 {
        Some(Hash::Sha512)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> CertificateDer<'static> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        CertificateParams::new(vec!["db.example".to_owned()]).unwrap().self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_signature_chooses_the_hash() {
        let p256 = certificate(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(server_end_point(&p256).unwrap(), Sha256::digest(&p256).to_vec());
        let p384 = certificate(&rcgen::PKCS_ECDSA_P384_SHA384);
        assert_eq!(server_end_point(&p384).unwrap(), Sha384::digest(&p384).to_vec());
    }

    #[test]
    fn a_signature_without_a_hash_has_no_binding() {
        assert_eq!(server_end_point(&certificate(&rcgen::PKCS_ED25519)), None);
        assert_eq!(server_end_point(&CertificateDer::from(b"not a certificate".to_vec())), None);
    }
}
