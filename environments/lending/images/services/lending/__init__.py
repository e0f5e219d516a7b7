"""The lending platform: one module per service, each started with `python3 -m lending.NAME`.

decision_api, feature_service, model_server, pricing_service, case_router and ingestor are services. rules, scoring,
rate_card and review hold what they decide, without any I/O. web, callee and stores are what the services share.
"""
