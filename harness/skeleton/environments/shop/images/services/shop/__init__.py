"""The example shop: storefront, catalog, pricing and stock, each a small server of the standard library."""
