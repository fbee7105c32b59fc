// A small story through @segment/analytics-node: node send.mjs <gateway> <writeKey> <userId>
import { Analytics } from '@segment/analytics-node'

const [gateway, writeKey, userId] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host: gateway, path: '/v1/batch', flushAt: 5, flushInterval: 200 })
const failures = []
analytics.on('error', (error) => failures.push(String(error.reason ?? error)))

const anonymousId = `${userId}-device`
analytics.page({ anonymousId, name: 'Home', properties: { path: '/' } })
analytics.track({ anonymousId, event: 'Product Viewed', properties: { product_id: 'LAMP-1', price: 89.5 } })
analytics.identify({ anonymousId, userId, traits: { email: `${userId}@example.com`, firstName: 'Node' } })
analytics.track({
  anonymousId,
  userId,
  event: 'Order Completed',
  properties: { order_id: `${userId}-1`, revenue: 300.1, currency: 'USD', products: [{ product_id: 'LAMP-1', price: 300.1 }] },
})
await analytics.closeAndFlush({ timeout: 10000 })
console.log(JSON.stringify({ failures }))
process.exit(failures.length ? 1 : 0)
