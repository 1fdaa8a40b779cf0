"""The key services that come along. Each is one module, loaded by whoever uses it.

`local.LocalKeyService` keeps the master key in a file, or takes it from an environment variable.
`aws.AwsKmsKeyService`, `transit.TransitKeyService` and `pkcs11.Pkcs11KeyService` leave it where it
is and ask there: AWS KMS, OpenBao or HashiCorp Vault, a hardware security module. Each passes
`payplatform.testing.keys_contract.KeyServiceContract`, as any other key service must.
"""
