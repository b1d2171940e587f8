// The unmodified Java SDK against a real edge, one scenario per run: `java Sdk SCENARIO`. It speaks Protobuf only.
import io.github.centrifugal.centrifuge.*;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

public class Sdk {
  static final long WITHIN_S = 15;

  public static void main(String[] args) {
    try {
      trust(System.getenv("HEADLAND_CA"));
      switch (args[0]) {
        case "chats_and_sees_who_is_there" -> chats();
        case "recovers_what_it_missed" -> recovers();
        case "errors_are_the_protocols_own" -> refused();
        case "an_expired_token_is_replaced" -> replaced();
        case "bytes_that_are_not_text_pass" -> bytes();
        default -> throw new IllegalArgumentException("no scenario " + args[0]);
      }
      System.exit(0);
    } catch (Throwable problem) {
      problem.printStackTrace();
      System.exit(1);
    }
  }

  /** The SDK trusts what the virtual machine trusts. */
  static void trust(String pem) throws Exception {
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    try (FileInputStream in = new FileInputStream(pem)) {
      store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(in));
    }
    Path file = Files.createTempFile("headland", ".p12");
    file.toFile().deleteOnExit();
    try (FileOutputStream out = new FileOutputStream(file.toFile())) {
      store.store(out, "changeit".toCharArray());
    }
    System.setProperty("javax.net.ssl.trustStore", file.toString());
    System.setProperty("javax.net.ssl.trustStorePassword", "changeit");
  }

  static <T> T next(String what, BlockingQueue<T> heard) throws Exception {
    T value = heard.poll(WITHIN_S, TimeUnit.SECONDS);
    check(value != null, "waited for " + what);
    return value;
  }

  /** The result of a call of the SDK. */
  static <T> T result(Consumer<ResultCallback<T>> call) throws Throwable {
    CompletableFuture<T> future = new CompletableFuture<>();
    call.accept((error, value) -> {
      if (error != null) future.completeExceptionally(error);
      else future.complete(value);
    });
    try {
      return future.get(WITHIN_S, TimeUnit.SECONDS);
    } catch (java.util.concurrent.ExecutionException failed) {
      throw failed.getCause();
    }
  }

  static void check(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }

  static byte[] text(Object value) {
    return String.valueOf(value).getBytes(StandardCharsets.UTF_8);
  }

  /** A connected client. */
  static class Session extends EventListener {
    final BlockingQueue<String> changes = new LinkedBlockingQueue<>();
    final Client client;

    Session(Options options) throws Exception {
      client = new Client(System.getenv("HEADLAND_URL"), options, this);
      connect();
    }

    static Session of(String user) throws Exception {
      Options options = new Options();
      options.setToken(System.getenv(user));
      return new Session(options);
    }

    void connect() throws Exception {
      client.connect();
      String change = next("a connection", changes);
      check(change.equals("connected"), change);
    }

    @Override
    public void onConnected(Client client, ConnectedEvent event) {
      changes.add("connected");
    }

    @Override
    public void onDisconnected(Client client, DisconnectedEvent event) {
      changes.add("disconnected " + event.getCode());
    }
  }

  /** What a subscription says. */
  static class Room extends SubscriptionEventListener {
    final BlockingQueue<PublicationEvent> publications = new LinkedBlockingQueue<>();
    final BlockingQueue<String> joins = new LinkedBlockingQueue<>();
    final BlockingQueue<String> leaves = new LinkedBlockingQueue<>();
    final BlockingQueue<SubscribedEvent> subscribed = new LinkedBlockingQueue<>();
    final BlockingQueue<Integer> unsubscribed = new LinkedBlockingQueue<>();
    final Subscription subscription;

    Room(Session session, String channel) throws Exception {
      subscription = session.client.newSubscription(channel, this);
      subscription.subscribe();
    }

    static Room entered(Session session, String channel) throws Exception {
      Room room = new Room(session, channel);
      next("a subscription", room.subscribed);
      return room;
    }

    void say(int number) throws Throwable {
      Sdk.<PublishResult>result(done -> subscription.publish(text(number), done));
    }

    void wants(int from, int to) throws Exception {
      for (int number = from; number <= to; number++) {
        PublicationEvent heard = next("publication " + number, publications);
        String said = new String(heard.getData(), StandardCharsets.UTF_8);
        check(said.equals(String.valueOf(number)) && heard.getOffset() == number, said + " at " + heard.getOffset());
        check(heard.getInfo().getUser().equals("bob"), heard.getInfo().getUser());
      }
    }

    @Override
    public void onPublication(Subscription subscription, PublicationEvent event) {
      publications.add(event);
    }

    @Override
    public void onJoin(Subscription subscription, JoinEvent event) {
      joins.add(event.getInfo().getUser());
    }

    @Override
    public void onLeave(Subscription subscription, LeaveEvent event) {
      leaves.add(event.getInfo().getUser());
    }

    @Override
    public void onSubscribed(Subscription subscription, SubscribedEvent event) {
      subscribed.add(event);
    }

    @Override
    public void onUnsubscribed(Subscription subscription, UnsubscribedEvent event) {
      unsubscribed.add(event.getCode());
    }
  }

  static void chats() throws Throwable {
    Session ann = Session.of("ANN"), bob = Session.of("BOB");
    Room hers = Room.entered(ann, "chat:java"), his = Room.entered(bob, "chat:java");
    while (!next("a join", hers.joins).equals("bob")) {}
    for (int number = 1; number <= 50; number++) his.say(number);
    hers.wants(1, 50);
    PresenceResult present = result(hers.subscription::presence);
    check(present.getClients().size() == 2, "present: " + present.getClients().keySet());
    for (ClientInfo info : present.getClients().values()) {
      String name = new String(info.getConnInfo(), StandardCharsets.UTF_8);
      check(name.contains(info.getUser()), info.getUser() + " has the info " + name);
    }
    PresenceStatsResult stats = result(hers.subscription::presenceStats);
    check(stats.getNumClients() == 2 && stats.getNumUsers() == 2, "stats");
    HistoryOptions last = new HistoryOptions.Builder().withLimit(2).withReverse(true).build();
    HistoryResult page = result(done -> hers.subscription.history(last, done));
    check(page.getOffset() == 50 && page.getPublications().size() == 2, "history");
    check(new String(page.getPublications().get(0).getData(), StandardCharsets.UTF_8).equals("50"), "the newest first");
    bob.client.disconnect();
    check(next("a leave", hers.leaves).equals("bob"), "who left");
  }

  static void recovers() throws Throwable {
    Session ann = Session.of("ANN"), bob = Session.of("BOB");
    Room hers = Room.entered(ann, "chat:java-away"), his = Room.entered(bob, "chat:java-away");
    his.say(1);
    hers.wants(1, 1);
    ann.client.disconnect();
    check(next("an end", ann.changes).startsWith("disconnected"), "disconnected");
    for (int number = 2; number <= 20; number++) his.say(number);
    ann.connect();
    SubscribedEvent event = next("a subscription", hers.subscribed);
    check(event.wasRecovering() && event.getRecovered(), "recovered");
    hers.wants(2, 20);
  }

  static void refused() throws Throwable {
    Session ann = Session.of("ANN");
    wants(108, () -> Sdk.<RPCResult>result(done -> ann.client.rpc("anything", text("{}"), done)));
    wants(103, () -> Sdk.<PublishResult>result(done -> ann.client.publish("closed:room", text("{}"), done)));
    Room nowhere = new Room(ann, "nowhere:room");
    int code = next("an end", nowhere.unsubscribed);
    check(code == 102, "unsubscribed with " + code);
  }

  interface Call {
    Object run() throws Throwable;
  }

  static void wants(int code, Call call) throws Throwable {
    try {
      call.run();
    } catch (ReplyError error) {
      check(error.getCode() == code, "wanted " + code + ", got " + error.getCode());
      return;
    }
    throw new AssertionError("wanted the error " + code);
  }

  static void replaced() throws Exception {
    BlockingQueue<Boolean> asked = new LinkedBlockingQueue<>();
    Options options = new Options();
    options.setToken(System.getenv("EXPIRED"));
    options.setTokenGetter(new ConnectionTokenGetter() {
      @Override
      public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
        asked.add(true);
        callback.Done(null, System.getenv("ANN"));
      }
    });
    new Session(options);
    next("a question for a token", asked);
  }

  static void bytes() throws Throwable {
    Session ann = Session.of("ANN");
    Room room = Room.entered(ann, "chat:java-bytes");
    byte[] all = new byte[256];
    for (int i = 0; i < all.length; i++) all[i] = (byte) i;
    Sdk.<PublishResult>result(done -> room.subscription.publish(all, done));
    check(java.util.Arrays.equals(next("a publication", room.publications).getData(), all), "the same bytes");
  }
}
