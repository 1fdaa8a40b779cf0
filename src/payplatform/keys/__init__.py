"""The key services that come along. Each is one module, loaded by whoever uses it.

`local.LocalKeyService` keeps the master key in a file, or takes it from an environment variable. It
passes `payplatform.testing.keys_contract.KeyServiceContract`, as any other key service must.
"""
