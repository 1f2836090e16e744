-- What Partner Center said: the mirror ---------------------------------------

-- One of our accounts' relationship to a customer, with the time that the last
-- whole read of each kind was started (NULL = never) and the hash of its body.
CREATE TABLE customer_account (
    customer_id            uuid NOT NULL REFERENCES customer,
    account_id             int NOT NULL REFERENCES account,
    relationship           text,
    listed_at              timestamptz,    -- in the list whose reading began then
    gone_at                timestamptz,
    looked_at              timestamptz,    -- read, or tried in vain
    license_access         boolean,        -- NULL = not tried yet
    subscriptions_read_at  timestamptz,
    subscriptions_hash     bytea,
    subscriptions_fetched_at timestamptz,  -- read_at may be later: nothing spoke for a change then
    audited_at             timestamptz,    -- last change that the audit records tell of
    subscriptions_error    text,
    subscribed_skus_read_at timestamptz,
    subscribed_skus_hash   bytea,
    subscribed_skus_error  text,
    users_read_at          timestamptz,
    users_error            text,
    licenses_read_at       timestamptz,
    licenses_error         text,
    PRIMARY KEY (customer_id, account_id)
) WITH (fillfactor = 70);
CREATE INDEX customer_account_account_idx ON customer_account (account_id, customer_id);
COMMENT ON TABLE customer_account IS 'which account sells to which customer, and when each kind of data was read (start of the reading)';
COMMENT ON COLUMN customer_account.customer_id IS 'the customer';
COMMENT ON COLUMN customer_account.account_id IS 'the account';
COMMENT ON COLUMN customer_account.relationship IS 'relationshipToPartner, as Partner Center says';
COMMENT ON COLUMN customer_account.listed_at IS 'in the list whose reading began then';
COMMENT ON COLUMN customer_account.gone_at IS 'no longer listed since';
COMMENT ON COLUMN customer_account.looked_at IS 'last read of its subscribed SKUs, or last attempt: runs begin with whom this is longest ago';
COMMENT ON COLUMN customer_account.license_access IS 'licence usage can be read (GDAP); NULL: not tried yet';
COMMENT ON COLUMN customer_account.subscriptions_read_at IS 'begin of the last whole read of subscriptions; NULL: never';
COMMENT ON COLUMN customer_account.subscriptions_hash IS 'of that answer: an equal one changes nothing';
COMMENT ON COLUMN customer_account.subscriptions_fetched_at IS 'begin of the last whole read of subscriptions that was sent';
COMMENT ON COLUMN customer_account.audited_at IS 'last change of a subscription that Partner Center''s audit records tell of';
COMMENT ON COLUMN customer_account.subscriptions_error IS 'why the last read failed; NULL: it did not';
COMMENT ON COLUMN customer_account.subscribed_skus_read_at IS 'begin of the last whole read of subscribed SKUs';
COMMENT ON COLUMN customer_account.subscribed_skus_hash IS 'of that answer';
COMMENT ON COLUMN customer_account.subscribed_skus_error IS 'why the last read failed';
COMMENT ON COLUMN customer_account.users_read_at IS 'begin of the last whole read of users';
COMMENT ON COLUMN customer_account.users_error IS 'why the last read failed';
COMMENT ON COLUMN customer_account.licenses_read_at IS 'begin of the last whole read of users'' licences';
COMMENT ON COLUMN customer_account.licenses_error IS 'why the last read failed';

-- Entra SKUs as seen at any customer
CREATE TABLE sku (
    sku_id           uuid PRIMARY KEY,
    part_number      text,
    name             text,
    consumption_seen boolean NOT NULL DEFAULT false
);
CREATE INDEX sku_part_number_idx ON sku (lower(part_number));
COMMENT ON TABLE sku IS 'Entra SKUs seen at any customer';
COMMENT ON COLUMN sku.sku_id IS 'Entra SKU';
COMMENT ON COLUMN sku.part_number IS 'e.g. SPE_E3';
COMMENT ON COLUMN sku.name IS 'product name';
COMMENT ON COLUMN sku.consumption_seen IS 'some customer was seen to consume it';

-- Which SKU an offer provisions, cached.  NCE: 'productId:skuId'; legacy: the
-- offer's GUID.  sku_id NULL: not found, the error says why.
CREATE TABLE offer (
    offer_key   text PRIMARY KEY,
    sku_id      uuid,
    minimum     int,
    maximum     int,
    is_trial    boolean,
    source      text CHECK (source IN ('catalogue', 'provisioning status', 'person')),
    error       text,
    attempts    int NOT NULL DEFAULT 0,
    read_at     timestamptz,
    limits_read_at timestamptz                 -- minimum and maximum were asked for
);
COMMENT ON TABLE offer IS 'which SKU an offer provisions, and its limits, cached';
COMMENT ON COLUMN offer.offer_key IS 'productId:skuId (New Commerce) or the offer''s GUID (legacy)';
COMMENT ON COLUMN offer.sku_id IS 'the SKU that it provisions; NULL: not found, error says why';
COMMENT ON COLUMN offer.minimum IS 'fewest seats of a subscription';
COMMENT ON COLUMN offer.maximum IS 'most seats of a subscription';
COMMENT ON COLUMN offer.is_trial IS 'a trial';
COMMENT ON COLUMN offer.source IS 'where the SKU was found';
COMMENT ON COLUMN offer.error IS 'why it was not';
COMMENT ON COLUMN offer.attempts IS 'failed attempts to find it';
COMMENT ON COLUMN offer.read_at IS 'when it was looked up';
COMMENT ON COLUMN offer.limits_read_at IS 'when minimum and maximum were looked up';

CREATE TABLE subscription (
    subscription_id     uuid PRIMARY KEY,
    account_id          int NOT NULL REFERENCES account,
    customer_id         uuid NOT NULL REFERENCES customer,
    offer_id            text,
    offer_key           text,
    offer_name          text,
    friendly_name       text,
    sku_id              uuid,               -- NULL = unmapped
    commerce            text NOT NULL CHECK (commerce IN ('nce', 'legacy', 'other')),
    quantity            int NOT NULL,
    status              text NOT NULL,
    term_duration       text,
    billing_cycle       text,
    auto_renew          boolean NOT NULL,
    is_trial            boolean NOT NULL,
    created_at          timestamptz,
    effective_start     timestamptz,
    commitment_end      timestamptz,        -- as Partner Center says it
    term_end            timestamptz,        -- first moment of the next term
    cancellation_allowed_until timestamptz,
    parent_subscription_id uuid,
    partner_id          text,
    promotion_id        text,
    order_id            text,
    custom_term_end     timestamptz,
    -- scheduled for the next term
    next_quantity       int,
    next_other_product  boolean NOT NULL DEFAULT false,
    cancel_at_term      boolean NOT NULL DEFAULT false,
    extended_term       boolean NOT NULL DEFAULT false,
    -- seats that can still be given back, batch by batch
    refund_quantity     int[] NOT NULL DEFAULT '{}',
    refund_until        timestamptz[] NOT NULL DEFAULT '{}',
    -- what of it was set by us; else a person did it and it stands
    our_suspension      boolean NOT NULL DEFAULT false,
    our_end             boolean NOT NULL DEFAULT false,
    our_next_quantity   int,
    auto_renew_before   boolean,            -- before our suspension or end
    changes             int NOT NULL DEFAULT 0,
    renewed_at          timestamptz,        -- last renewal we saw
    first_seen_at       timestamptz NOT NULL,
    changed_at          timestamptz NOT NULL,
    gone_at             timestamptz         -- no longer listed
) WITH (fillfactor = 85);
CREATE INDEX subscription_customer_idx ON subscription (customer_id, sku_id);
CREATE INDEX subscription_unmapped_idx ON subscription (offer_key) WHERE sku_id IS NULL AND gone_at IS NULL;
COMMENT ON TABLE subscription IS 'mirror: subscriptions as Partner Center said last';
COMMENT ON COLUMN subscription.subscription_id IS 'id at Partner Center';
COMMENT ON COLUMN subscription.account_id IS 'of ours that sells it';
COMMENT ON COLUMN subscription.customer_id IS 'whose it is';
COMMENT ON COLUMN subscription.offer_id IS 'as Partner Center says: productId:skuId:availabilityId, or a GUID';
COMMENT ON COLUMN subscription.offer_key IS 'key in table offer';
COMMENT ON COLUMN subscription.offer_name IS 'Microsoft''s name';
COMMENT ON COLUMN subscription.friendly_name IS 'the partner''s or customer''s name';
COMMENT ON COLUMN subscription.sku_id IS 'the SKU that it provides; NULL: not known (yet), and not touched';
COMMENT ON COLUMN subscription.commerce IS 'nce, legacy, or other: never touched';
COMMENT ON COLUMN subscription.quantity IS 'seats';
COMMENT ON COLUMN subscription.status IS 'active, suspended, deleted, ... in lower case';
COMMENT ON COLUMN subscription.term_duration IS 'P1M, P1Y, P3Y';
COMMENT ON COLUMN subscription.billing_cycle IS 'in lower case';
COMMENT ON COLUMN subscription.auto_renew IS 'renews by itself';
COMMENT ON COLUMN subscription.is_trial IS 'a trial: its seats are foreign';
COMMENT ON COLUMN subscription.created_at IS 'when it was bought';
COMMENT ON COLUMN subscription.effective_start IS 'begin of the term';
COMMENT ON COLUMN subscription.commitment_end IS 'as Partner Center says it: the last day under New Commerce, the day after under legacy';
COMMENT ON COLUMN subscription.term_end IS 'first moment of the next term';
COMMENT ON COLUMN subscription.cancellation_allowed_until IS 'can be cancelled whole until then';
COMMENT ON COLUMN subscription.parent_subscription_id IS 'base of an add-on';
COMMENT ON COLUMN subscription.partner_id IS 'partner of record';
COMMENT ON COLUMN subscription.promotion_id IS 'promotion';
COMMENT ON COLUMN subscription.order_id IS 'order';
COMMENT ON COLUMN subscription.custom_term_end IS 'end date aligned with others';
COMMENT ON COLUMN subscription.next_quantity IS 'seats scheduled for the next term; NULL: as they are';
COMMENT ON COLUMN subscription.next_other_product IS 'the next term is scheduled to be another product';
COMMENT ON COLUMN subscription.cancel_at_term IS 'an explicit cancel is scheduled for the end of the term';
COMMENT ON COLUMN subscription.extended_term IS 'in Extended Service Terms: goes on month by month';
COMMENT ON COLUMN subscription.refund_quantity IS 'seats that can still be given back, batch by batch; refund_until beside it says until when';
COMMENT ON COLUMN subscription.refund_until IS 'beside refund_quantity';
COMMENT ON COLUMN subscription.our_suspension IS 'we suspended it; else a person did, and that stands';
COMMENT ON COLUMN subscription.our_end IS 'we set it to end with its term';
COMMENT ON COLUMN subscription.our_next_quantity IS 'the schedule for the next term is ours';
COMMENT ON COLUMN subscription.auto_renew_before IS 'as it was before our suspension or end';
COMMENT ON COLUMN subscription.changes IS 'changes we made, of about 1,200 that Partner Center allows in its life';
COMMENT ON COLUMN subscription.renewed_at IS 'last renewal seen';
COMMENT ON COLUMN subscription.first_seen_at IS 'first read';
COMMENT ON COLUMN subscription.changed_at IS 'last read that differed';
COMMENT ON COLUMN subscription.gone_at IS 'no longer listed since';

CREATE TABLE subscription_raw (
    subscription_id uuid PRIMARY KEY REFERENCES subscription ON DELETE CASCADE,
    body            jsonb NOT NULL,
    read_at         timestamptz NOT NULL    -- when this body was first read
);
COMMENT ON TABLE subscription_raw IS 'mirror: the whole resource as JSON';
COMMENT ON COLUMN subscription_raw.subscription_id IS 'which';
COMMENT ON COLUMN subscription_raw.body IS 'as read';
COMMENT ON COLUMN subscription_raw.read_at IS 'when this body was first read';

CREATE TABLE subscribed_sku (
    customer_id       uuid NOT NULL REFERENCES customer,
    sku_id            uuid NOT NULL REFERENCES sku,
    part_number       text,
    target_type       text,
    license_group     text,
    active_units      int NOT NULL,
    warning_units     int NOT NULL,
    suspended_units   int NOT NULL,
    consumed_units    int NOT NULL,
    total_units       int,
    available_units   int,
    capability_status text,
    changed_at        timestamptz NOT NULL,
    gone_at           timestamptz,
    PRIMARY KEY (customer_id, sku_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE subscribed_sku IS 'mirror: Microsoft''s report of units per customer and SKU';
COMMENT ON COLUMN subscribed_sku.customer_id IS 'the customer';
COMMENT ON COLUMN subscribed_sku.sku_id IS 'the SKU';
COMMENT ON COLUMN subscribed_sku.part_number IS 'e.g. SPE_E3';
COMMENT ON COLUMN subscribed_sku.target_type IS 'User or Tenant';
COMMENT ON COLUMN subscribed_sku.license_group IS 'group1 (Entra), group2 (Minecraft)';
COMMENT ON COLUMN subscribed_sku.active_units IS 'seats that can be assigned';
COMMENT ON COLUMN subscribed_sku.warning_units IS 'seats of subscriptions past their end, in grace';
COMMENT ON COLUMN subscribed_sku.suspended_units IS 'seats of suspended subscriptions';
COMMENT ON COLUMN subscribed_sku.consumed_units IS 'seats assigned, as reported';
COMMENT ON COLUMN subscribed_sku.total_units IS 'as reported';
COMMENT ON COLUMN subscribed_sku.available_units IS 'as reported';
COMMENT ON COLUMN subscribed_sku.capability_status IS 'Enabled, Warning, Suspended, Deleted, LockedOut';
COMMENT ON COLUMN subscribed_sku.changed_at IS 'last read that differed';
COMMENT ON COLUMN subscribed_sku.gone_at IS 'no longer listed since';

CREATE TABLE customer_user (
    customer_id    uuid NOT NULL REFERENCES customer,
    user_id        uuid NOT NULL,
    upn            text NOT NULL,
    display_name   text,
    usage_location text,
    licenses_read_at timestamptz,
    listed_at      timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    PRIMARY KEY (customer_id, user_id)
);
CREATE INDEX customer_user_upn_idx ON customer_user (customer_id, lower(upn));
COMMENT ON TABLE customer_user IS 'mirror: users';
COMMENT ON COLUMN customer_user.customer_id IS 'the customer';
COMMENT ON COLUMN customer_user.user_id IS 'the user''s object id';
COMMENT ON COLUMN customer_user.upn IS 'userPrincipalName';
COMMENT ON COLUMN customer_user.display_name IS 'name shown';
COMMENT ON COLUMN customer_user.usage_location IS 'country, two letters; needed for a licence';
COMMENT ON COLUMN customer_user.licenses_read_at IS 'when the user''s licences were read';
COMMENT ON COLUMN customer_user.listed_at IS 'in the list whose reading began then';
COMMENT ON COLUMN customer_user.changed_at IS 'last read that differed';

CREATE TABLE user_license (
    customer_id uuid NOT NULL,
    user_id     uuid NOT NULL,
    sku_id      uuid NOT NULL,
    PRIMARY KEY (customer_id, sku_id, user_id),
    FOREIGN KEY (customer_id, user_id) REFERENCES customer_user ON DELETE CASCADE
);
CREATE INDEX user_license_user_idx ON user_license (customer_id, user_id);
COMMENT ON TABLE user_license IS 'mirror: licences held, as far as they were read';
COMMENT ON COLUMN user_license.customer_id IS 'the customer';
COMMENT ON COLUMN user_license.user_id IS 'the user';
COMMENT ON COLUMN user_license.sku_id IS 'the SKU held';
