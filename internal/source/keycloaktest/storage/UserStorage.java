package groupsync;

import java.util.Map;
import java.util.stream.Stream;
import org.keycloak.component.ComponentModel;
import org.keycloak.credential.UserCredentialManager;
import org.keycloak.models.GroupModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.models.SubjectCredentialManager;
import org.keycloak.models.UserModel;
import org.keycloak.models.utils.KeycloakModelUtils;
import org.keycloak.storage.StorageId;
import org.keycloak.storage.UserStorageProvider;
import org.keycloak.storage.UserStorageProviderFactory;
import org.keycloak.storage.adapter.AbstractUserAdapter;
import org.keycloak.storage.user.UserLookupProvider;
import org.keycloak.storage.user.UserQueryMethodsProvider;

/**
 * UserStorage is a custom user storage with two people, who are members of the
 * group that the component names. Its look-up of a foreign id fails, as in many
 * a storage that was written for one company.
 */
public class UserStorage implements UserStorageProvider, UserLookupProvider, UserQueryMethodsProvider {
    private static final Map<String, String> PEOPLE = Map.of("1", "stored-ann", "2", "stored-bob");

    private final KeycloakSession session;
    private final ComponentModel component;

    UserStorage(KeycloakSession session, ComponentModel component) {
        this.session = session;
        this.component = component;
    }

    @Override
    public void close() {}

    @Override
    public UserModel getUserById(RealmModel realm, String id) {
        String key = StorageId.externalId(id);
        if ("throw".equals(component.get("foreign"))) {
            if (!PEOPLE.containsKey(key)) {
                throw new IllegalStateException("no such person: " + key);
            }
        } else {
            key = String.valueOf(Integer.parseInt(key));
        }
        return PEOPLE.containsKey(key) ? new Person(realm, key) : null;
    }

    @Override
    public UserModel getUserByUsername(RealmModel realm, String username) {
        return find(realm, username, "");
    }

    @Override
    public UserModel getUserByEmail(RealmModel realm, String email) {
        return find(realm, email, "@example.org");
    }

    private UserModel find(RealmModel realm, String text, String suffix) {
        return PEOPLE.entrySet().stream().filter(e -> (e.getValue() + suffix).equalsIgnoreCase(text))
            .map(e -> new Person(realm, e.getKey())).findFirst().orElse(null);
    }

    private Stream<UserModel> all(RealmModel realm) {
        return PEOPLE.keySet().stream().sorted().map(key -> new Person(realm, key));
    }

    private static Stream<UserModel> page(Stream<UserModel> people, Integer first, Integer max) {
        Stream<UserModel> rest = first == null || first <= 0 ? people : people.skip(first);
        return max == null || max < 0 ? rest : rest.limit(max);
    }

    @Override
    public Stream<UserModel> searchForUserStream(RealmModel realm, Map<String, String> params, Integer first, Integer max) {
        String search = params.get(UserModel.SEARCH);
        String username = params.get(UserModel.USERNAME);
        String email = params.get(UserModel.EMAIL);
        return page(all(realm).filter(u -> matches(search, u.getUsername()) && matches(username, u.getUsername())
            && matches(email, u.getEmail())), first, max);
    }

    private static boolean matches(String wanted, String have) {
        return wanted == null || have.contains(wanted.replace("\"", "").replace("*", "").toLowerCase());
    }

    @Override
    public Stream<UserModel> getGroupMembersStream(RealmModel realm, GroupModel group, Integer first, Integer max) {
        return group.equals(group(realm)) ? page(all(realm), first, max) : Stream.empty();
    }

    @Override
    public Stream<UserModel> searchForUserByUserAttributeStream(RealmModel realm, String name, String value) {
        return Stream.empty();
    }

    private GroupModel group(RealmModel realm) {
        return KeycloakModelUtils.findGroupByPath(session, realm, component.get("group"));
    }

    private class Person extends AbstractUserAdapter {
        private final String key;

        Person(RealmModel realm, String key) {
            super(UserStorage.this.session, realm, UserStorage.this.component);
            this.key = key;
            this.storageId = new StorageId(UserStorage.this.component.getId(), key);
        }

        @Override
        public String getUsername() {
            return PEOPLE.get(key);
        }

        @Override
        public String getEmail() {
            return getUsername() + "@example.org";
        }

        @Override
        public SubjectCredentialManager credentialManager() {
            return new UserCredentialManager(session, realm, this);
        }

        @Override
        protected java.util.Set<GroupModel> getGroupsInternal() {
            GroupModel group = group(realm);
            return group == null ? java.util.Set.of() : java.util.Set.of(group);
        }
    }

    /** Factory makes the storage for a component. */
    public static class Factory implements UserStorageProviderFactory<UserStorage> {
        @Override
        public UserStorage create(KeycloakSession session, ComponentModel component) {
            return new UserStorage(session, component);
        }

        @Override
        public String getId() {
            return "groupsync-test-storage";
        }
    }
}
