"""The engine as it runs in production, built from its module, on one machine; outside CI."""
