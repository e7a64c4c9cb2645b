// One scenario by one client: subscribe with a filter, see the rows, change them, see the changes. What it saw goes to standard output.
// Usage: node scenario.mjs CLIENT http://127.0.0.1:PORT
import WebSocket from 'ws';

const [client, base] = process.argv.slice(2);
const wsUrl = base.replace(/^http/, 'ws') + '/graphql';
const query = 'subscription S($least: Float!) { positions(where: {price: {_gte: $least}}) { operation data { symbol qty } fields } }';
const variables = {least: 100};

// Rows are changed over the JSON WebSocket, each step when the one before has been seen.
const writer = new WebSocket(base.replace(/^http/, 'ws') + '/ws');
await new Promise(resolve => writer.on('open', resolve));
let number = 0;
const put = (symbol, qty, price) => writer.send(JSON.stringify({type: 'publish', id: String(++number), stream: 'Puts', row: {symbol, qty, price}}));
const steps = [() => put('ACME', 2, 120), () => put('IBM', 5, 130), () => put('ACME', 2, 5)];

const seen = [];
let finish;
const finished = new Promise(resolve => { finish = resolve; });
function saw(change) {
  const {operation, data, fields} = change;
  seen.push(`${operation} ${data.symbol} ${data.qty} [${fields.join(',')}]`);
  const step = steps.shift();
  if (step) step(); else finish();
}
const fail = error => { console.error(error); process.exit(1); };
setTimeout(() => fail('nothing more came; seen: ' + JSON.stringify(seen)), 20000);

const clients = {
  async 'graphql-ws'() {
    const {createClient} = await import('graphql-ws');
    const one = createClient({url: wsUrl, webSocketImpl: WebSocket});
    one.subscribe({query, variables}, {next: result => saw(result.data.positions), error: fail, complete() {}});
  },
  async 'subscriptions-transport-ws'() {
    const {SubscriptionClient} = (await import('subscriptions-transport-ws')).default;
    const one = new SubscriptionClient(wsUrl, {}, WebSocket);
    one.request({query, variables}).subscribe({next: result => saw(result.data.positions), error: fail});
  },
  async 'graphql-sse'() {
    const {createClient} = await import('graphql-sse');
    const one = createClient({url: base + '/graphql'});
    one.subscribe({query, variables}, {next: result => saw(result.data.positions), error: fail, complete() {}});
  },
  async apollo() {
    const {ApolloClient, InMemoryCache, gql} = (await import('@apollo/client/core/core.cjs')).default;
    const {GraphQLWsLink} = (await import('@apollo/client/link/subscriptions/subscriptions.cjs')).default;
    const {createClient} = await import('graphql-ws');
    const link = new GraphQLWsLink(createClient({url: wsUrl, webSocketImpl: WebSocket}));
    const one = new ApolloClient({link, cache: new InMemoryCache()});
    one.subscribe({query: gql(query), variables, fetchPolicy: 'no-cache'}).subscribe({next: result => saw(result.data.positions), error: fail});
  },
  async urql() {
    const {Client, fetchExchange, subscriptionExchange} = await import('@urql/core');
    const {createClient} = await import('graphql-ws');
    const socket = createClient({url: wsUrl, webSocketImpl: WebSocket});
    const forwardSubscription = request => ({
      subscribe: sink => ({unsubscribe: socket.subscribe({query: request.query || '', variables: request.variables}, sink)}),
    });
    const one = new Client({url: base + '/graphql', exchanges: [fetchExchange, subscriptionExchange({forwardSubscription})]});
    one.subscription(query, variables).subscribe(result => (result.error ? fail(result.error) : saw(result.data.positions)));
  },
  async eventsource() {
    const {EventSource} = await import('eventsource');
    const source = new EventSource(base + '/events/positions?filter=' + encodeURIComponent('price >= 100'));
    for (const name of ['insert', 'update', 'delete']) {
      source.addEventListener(name, event => {
        const {op, data, fields} = JSON.parse(event.data);
        const text = value => (value === undefined ? null : String(value));
        saw({operation: op.toUpperCase(), data: {symbol: data.symbol, qty: op === 'delete' ? null : text(data.qty)}, fields: op === 'insert' ? ['symbol', 'qty'] : fields});
      });
    }
  },
};
await clients[client]();
await finished;
console.log(seen.join('\n'));
process.exit(0);
