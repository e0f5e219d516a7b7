-- What the lending platform keeps. `applicants` and `credit_profiles` are seeded; the rest fills while it runs.

CREATE TABLE applicants (
    applicant_id text PRIMARY KEY,
    full_name    text NOT NULL,
    email        text NOT NULL,
    city         text NOT NULL,
    joined_on    date NOT NULL
);

-- The offline feature store: one credit profile an applicant. Redis holds the same, for speed.
CREATE TABLE credit_profiles (
    applicant_id     text PRIMARY KEY REFERENCES applicants,
    consumer_history smallint NOT NULL CHECK (consumer_history BETWEEN 1 AND 6),
    mortgage_history smallint NOT NULL CHECK (mortgage_history BETWEEN 1 AND 4),
    public_record    smallint NOT NULL CHECK (public_record IN (0, 1)),
    meets_guidelines smallint NOT NULL CHECK (meets_guidelines IN (0, 1)),
    thick_file       smallint NOT NULL CHECK (thick_file IN (0, 1))
);

-- Every decision, once. Written by decision-api, or by the ingestor when the ledger was out of reach.
CREATE TABLE ledger (
    application_id   text PRIMARY KEY,
    applicant_id     text NOT NULL,
    decision         text NOT NULL CHECK (decision IN ('approve', 'decline')),
    score            double precision NOT NULL,
    approve_at       double precision NOT NULL,
    score_max        double precision NOT NULL,
    model_version    text NOT NULL,
    rate             double precision NOT NULL,
    pricing_version  text NOT NULL,
    queue            text NOT NULL CHECK (queue IN ('auto', 'manual')),
    degraded         boolean NOT NULL,
    degraded_reasons text[] NOT NULL,
    recorded_at      timestamptz NOT NULL DEFAULT now()
);

-- What a person still has to look at.
CREATE VIEW review_queue AS
    SELECT application_id, applicant_id, decision, score, recorded_at
    FROM ledger
    WHERE queue = 'manual'
    ORDER BY recorded_at;

-- What came in, as it came in; written by the ingestor from the stream. Training data of the next model.
CREATE TABLE application_history (
    application_id text PRIMARY KEY,
    applicant_id   text NOT NULL,
    application    jsonb NOT NULL,
    received_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX application_history_applicant ON application_history (applicant_id, received_at);
