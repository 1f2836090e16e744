'use strict';
// Products, SKUs, availabilities (new commerce), offers (legacy) and the Entra SKUs they provision.

const { errors, refuse } = require('./errors');
const { guidFrom, link } = require('./util');

class Catalogue {
  constructor(json) {
    this.skus = new Map();
    this.byPart = new Map();
    this.products = new Map();
    this.extended = new Map();
    this.offers = new Map();
    for (const s of json.skus || []) this.addSku(s);
    for (const p of json.products || []) this.addProduct(p);
    for (const o of json.offers || []) this.addOffer(o);
  }

  addSku(s) {
    const sku = {
      target_type: 'User',
      license_group: 'group1',
      name: s.part_number,
      ...s,
      sku_id: (s.sku_id || guidFrom(`sku ${s.part_number}`)).toLowerCase(),
    };
    sku.plans = (s.plans || [`${s.part_number}_PLAN`]).map((p) => {
      const plan = typeof p === 'string' ? { service: p } : { ...p };
      plan.name = plan.name || plan.service;
      plan.id = (plan.id || guidFrom(`plan ${plan.service}`)).toLowerCase();
      return plan;
    });
    this.skus.set(sku.sku_id, sku);
    this.byPart.set(sku.part_number.toLowerCase(), sku);
  }

  addProduct(p) {
    const product = {
      min: 1,
      max: 10000000,
      trial: false,
      software: false,
      pooled_max: null,
      marketplace: false,
      publisher: 'Microsoft Corporation',
      extended_terms: true,
      segment: 'commercial',
      ...p,
      terms: (p.terms || []).map((t) => ({ ...t })),
      availability_id: p.availability_id || 'CFQ7TTC' + guidFrom(`availability ${p.product_id}:${p.sku_id}`).slice(0, 5).toUpperCase(),
    };
    product.key = `${p.product_id}:${p.sku_id}`.toUpperCase();
    product.sku = this.sku(p.provisions);
    this.products.set(product.key, product);
    if (product.extended_terms && !product.trial && !product.software) this.addExtended(product);
  }

  /** The SKU of extended terms: month to month, 3 % above the monthly price, 23 % above the yearly one where there is no monthly plan. */
  addExtended(of) {
    const monthly = this.price(of, 'P1M', 'monthly');
    const yearly = (of.terms || []).find((t) => t.term === 'P1Y');
    if (!monthly && !yearly) return;
    const product = {
      ...of,
      sku_id: `E${of.sku_id.slice(1)}`,
      title: `${of.title} (Extended Service Term)`,
      terms: [{ term: 'P1M', cycle: 'monthly', price: monthly ? monthly.price * 1.03 : (yearly.price / 12) * 1.23 }],
      extended_of: of.key,
      purchasable: false,
    };
    product.key = `${product.product_id}:${product.sku_id}`.toUpperCase();
    product.availability_id = `CFQ7TTC${guidFrom(`availability ${product.key}`).slice(0, 5).toUpperCase()}`;
    this.extended.set(product.key, product);
    of.extended_by = product.key;
  }

  addOffer(o) {
    const offer = { min: 1, max: 10000000, trial: false, addon: false, ...o };
    offer.offer_id = o.offer_id.toLowerCase();
    offer.sku = this.sku(o.provisions);
    this.offers.set(offer.offer_id, offer);
  }

  /** By GUID or part number. */
  sku(name) {
    const key = String(name).toLowerCase();
    const sku = this.skus.get(key) || this.byPart.get(key);
    if (!sku) throw new Error(`unknown SKU "${name}" in the scenario`);
    return sku;
  }

  findSku(id) {
    const sku = this.skus.get(String(id).toLowerCase());
    return sku && !sku.hidden ? sku : null;
  }

  product(key) {
    const wanted = String(key).toUpperCase();
    return this.products.get(wanted) || this.extended.get(wanted) || null;
  }

  /** The price changes now; the old one stays in the sheets of its time. */
  setPrice(product, t, price, now, started) {
    t.history = this.prices(product, t, started);
    t.history[t.history.length - 1].to = now;
    t.history.push({ price, from: now, to: Infinity });
    t.price = price;
  }

  /** All prices of a term with their times; the first holds since the first of January of the scenario's year. */
  prices(product, t, started) {
    return t.history || [{ price: t.price, from: Date.UTC(new Date(started).getUTCFullYear(), 0, 1), to: Infinity }];
  }

  price(product, term, cycle) {
    return (product.terms || []).find((t) => t.term === term && t.cycle === cycle) || null;
  }

  /** The entry behind productId:skuId:availabilityId, or the refusal for the part that is wrong. */
  resolve(productId, skuId, availabilityId) {
    const product = this.product(`${productId}:${skuId}`);
    if (!product) {
      const known = [...this.products.values()].some((p) => p.product_id.toUpperCase() === String(productId).toUpperCase());
      throw known ? refuse(404, 400018, 'SKU not found.') : refuse(404, 400013, 'Product not found.');
    }
    if (availabilityId !== undefined && String(availabilityId).toUpperCase() !== product.availability_id.toUpperCase())
      throw refuse(404, 400019, 'Availability not found.');
    return product;
  }
}

function market(world, ctx) {
  if (ctx.customer) return ctx.customer.country;
  const country = ctx.request.query.get('country');
  if (!country) throw errors.input('The query parameter country is required.');
  return country.toUpperCase();
}

function skuView(p, country) {
  const base = `/products/${p.product_id}/skus/${p.sku_id}`;
  return {
    id: p.sku_id,
    productId: p.product_id,
    title: p.title,
    description: p.title,
    minimumQuantity: p.min,
    maximumQuantity: p.max,
    isTrial: p.trial,
    supportedBillingCycles: [...new Set(p.terms.map((t) => t.cycle))],
    purchasePrerequisites: ['MicrosoftCustomerAgreement'],
    inventoryVariables: [],
    provisioningVariables: [],
    actions: ['Refund'],
    dynamicAttributes: {
      isMicrosoftProduct: !p.marketplace,
      hasConstraints: p.max < 10000000,
      isAddon: false,
      prerequisiteSkus: [],
      isSoftwareAssuranceApplicable: false,
      upgradeTargetOffers: [],
      provisioningId: p.marketplace ? null : p.sku.sku_id,
      internal: false,
    },
    links: {
      availabilities: link(`${base}/availabilities?country=${country}`),
      self: link(`${base}?country=${country}`),
    },
  };
}

const termId = (p, t) => guidFrom(`term ${p.key} ${t.term}`).replace(/-/g, '').slice(0, 12);

function availabilityView(p, country, currency) {
  return {
    id: p.availability_id,
    productId: p.product_id,
    skuId: p.sku_id,
    catalogItemId: `${p.product_id}:${p.sku_id}:${p.availability_id}`,
    defaultCurrency: { code: currency, symbol: currency === 'USD' ? '$' : currency },
    segment: p.segment,
    country,
    isPurchasable: p.purchasable !== false,
    isRenewable: !p.trial,
    renewalInstructions: p.terms.map((t) => ({
      applicableTermIds: [termId(p, t)],
      renewalOptions: [{ renewToId: `${p.product_id}:${p.sku_id}`, isAutoRenewable: !p.trial }],
    })),
    terms: p.terms.map((t) => ({
      id: termId(p, t),
      duration: t.term,
      description: `${t.term} commitment, billed ${t.cycle}`,
      billingCycle: t.cycle.charAt(0).toUpperCase() + t.cycle.slice(1),
      cancellationPolicies: [{
        refundOptions: [
          { sequenceId: 0, type: 'Full', expiresAfter: 'P1D' },
          { sequenceId: 1, type: 'Partial', expiresAfter: 'P7D' },
        ],
      }],
    })),
    product: {},
    sku: {},
    links: { self: link(`/products/${p.product_id}/skus/${p.sku_id}/availabilities/${p.availability_id}?country=${country}`) },
  };
}

function productView(p, country) {
  return {
    id: p.product_id,
    title: p.title,
    description: p.title,
    productType: p.marketplace ? { id: 'AzureMarketplace', displayName: 'SaaS' } : { id: 'OnlineServicesNCE', displayName: 'OnlineServicesNCE' },
    isMicrosoftProduct: !p.marketplace,
    publisherName: p.publisher,
    links: {
      skus: link(`/products/${p.product_id}/skus?country=${country}`),
      self: link(`/products/${p.product_id}?country=${country}`),
    },
  };
}

const collection = (items) => ({ status: 200, body: { totalCount: items.length, items, attributes: { objectType: 'Collection' } } });

function ofProduct(world, ctx) {
  const wanted = ctx.params.product.toUpperCase();
  const found = [...world.catalogue.products.values()].filter((p) => p.product_id.toUpperCase() === wanted);
  if (!found.length) throw refuse(404, 400013, 'Product not found.');
  return found;
}

function products(world, ctx) {
  const country = market(world, ctx);
  const seen = new Map();
  for (const p of world.catalogue.products.values()) if (!seen.has(p.product_id)) seen.set(p.product_id, productView(p, country));
  return collection([...seen.values()]);
}

const product = (world, ctx) => ({ status: 200, body: productView(ofProduct(world, ctx)[0], market(world, ctx)) });
const skus = (world, ctx) => { const c = market(world, ctx); return collection(ofProduct(world, ctx).map((p) => skuView(p, c))); };

function sku(world, ctx) {
  const country = market(world, ctx);
  return { status: 200, body: skuView(world.catalogue.resolve(ctx.params.product, ctx.params.sku), country) };
}

function availabilities(world, ctx) {
  const country = market(world, ctx);
  const p = world.catalogue.resolve(ctx.params.product, ctx.params.sku);
  // One of Microsoft's errors comes with status 200.
  if (p.unavailable) return { status: 200, body: { code: 400072, description: "This item isn't available.", data: [], source: 'PartnerFD' } };
  return collection([availabilityView(p, country, ctx.partner.currency)]);
}

function availability(world, ctx) {
  const country = market(world, ctx);
  const p = world.catalogue.resolve(ctx.params.product, ctx.params.sku, ctx.params.availability);
  return { status: 200, body: availabilityView(p, country, ctx.partner.currency) };
}

function offer(world, ctx) {
  const o = world.catalogue.offers.get(ctx.params.offer.toLowerCase());
  if (!o) throw errors.notFound();
  const country = (ctx.request.query.get('country') || 'US').toUpperCase();
  const id = world.options.legacy_upper_guids ? o.offer_id.toUpperCase() : o.offer_id;
  return {
    status: 200,
    body: {
      id,
      name: o.name,
      description: o.name,
      minimumQuantity: o.min,
      maximumQuantity: o.max,
      rank: 1,
      uri: `/3c95518e-8c37-41e3-9627-0ca339200f53/Offers/${id}`,
      locale: 'en-US',
      country,
      category: { id: 'Enterprise_Key', name: 'Enterprise', rank: 20, locale: 'en-US', country, attributes: { objectType: 'OfferCategory' } },
      limitUnitOfMeasure: 'None',
      limit: 0,
      termUnitOfMeasure: 'Year',
      term: 1,
      prerequisiteOffers: [],
      isAddOn: o.addon,
      hasAddOns: !o.addon,
      isAvailableForPurchase: false,
      billing: 'license',
      supportedBillingCycles: ['annual', 'monthly'],
      isAutoRenewable: !o.trial,
      isInternal: false,
      isMicrosoftProduct: true,
      isTrial: o.trial,
      acquisitionType: 'purchase',
      actions: ['Cancel', 'Edit'],
      product: { id: o.sku.sku_id.toUpperCase(), name: o.name, unit: 'Licenses' },
      unitType: 'Licenses',
      links: { learnMore: { method: 'GET', headers: [] }, self: link(`/offers/${id}?country=${country}`) },
      attributes: { objectType: 'Offer' },
    },
  };
}

module.exports = { Catalogue, products, product, skus, sku, availabilities, availability, offer };
