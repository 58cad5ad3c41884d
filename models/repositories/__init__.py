"""One repository per aggregate. Each is built with (session, tenant_id); transactions belong to the use cases."""
